"""Limits and keys, as small pure-ASGI classes around the application."""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_microservice.inference.problems import Problem, body_too_large, no_api_key, too_many_requests
from ml_microservice.tracing.current import note

PROBES = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/metrics"})
"""Paths that no limit and no key applies to: who watches the service must see it when it is busy."""
KEYED = frozenset({"/predict", "/predict/batch", "/feedback", "/model", "/jobs"})
OWN_LIMIT = "/jobs"
"""The path whose bodies have a limit of their own, which its route keeps."""
PROBLEM_TYPE = "application/problem+json"


def error_body(problem: Problem, path: str) -> tuple[bytes, str]:
    """The body that answers a problem, and its media type: below `/v2`, as the Open Inference Protocol has it."""
    if path.startswith("/v2"):
        return orjson.dumps({"error": problem.detail}), "application/json"
    return orjson.dumps(problem.as_json()), PROBLEM_TYPE


async def send_problem(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem document."""
    note("problem.type", problem.kind)
    body, media_type = error_body(problem, scope["path"])
    headers = {"content-type": media_type, "content-length": str(len(body)), **problem.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def is_protected(path: str) -> bool:
    """Whether a path, or the template of one, needs a key where keys are set."""
    return path in KEYED or path.startswith(("/monitoring/", "/v2/models/", "/jobs/"))


def is_key(sent: bytes, keys: Sequence[bytes]) -> bool:
    """Whether what was sent is one of the keys; all are compared, so that the time does not tell how near it was."""
    return sum(hmac.compare_digest(sent, key) for key in keys) > 0


class InWork:
    """Counts the requests in work, whichever way they came: `with` it, a request is in work.

    Args:
        limit: how many may be; one more is a Problem.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._peak = 0

    def take_peak(self) -> int:
        """The most that were in work at once since it was last asked."""
        peak, self._peak = self._peak, self.count
        return peak

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return self.count >= self.limit

    def __enter__(self) -> None:
        if self.is_full:
            raise too_many_requests(self.limit)
        self.count += 1
        if self.count > self._peak:
            self._peak = self.count

    def __exit__(self, *raised: object) -> None:
        self.count -= 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A request that is in work only waits within the block, and so takes nobody's place."""
        self.count -= 1
        try:
            yield
        finally:
            # It goes on even if others have taken its place meanwhile: what is left of it is short.
            self.count += 1


class ConcurrencyLimit:
    """Answers 429 when too many requests are in work."""

    def __init__(self, app: ASGIApp, in_work: InWork) -> None:
        self.app = app
        self.in_work = in_work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
        elif self.in_work.is_full:
            await send_problem(too_many_requests(self.in_work.limit), scope, receive, send)
        else:
            with self.in_work:
                await self.app(scope, receive, send)


class ApiKeys:
    """Answers 401 to requests for protected paths that carry none of the keys; without keys, the service is open."""

    HEADER = b"x-api-key"

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self.app = app
        self.keys = tuple(key.encode() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_protected(scope["path"]) or self._is_allowed(scope):
            await self.app(scope, receive, send)
        else:
            await send_problem(no_api_key(), scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if not self.keys or scope["method"] == "OPTIONS":
            return True
        return is_key(next((value for name, value in scope["headers"] if name == self.HEADER), b""), self.keys)


class BodyLimit:
    """Answers 413 to bodies of more than `limit` bytes, whether or not they announce their length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == OWN_LIMIT:
            await self.app(scope, receive, send)
            return
        started = False
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise body_too_large(self.limit)
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            if self._announced(scope) > self.limit:
                raise body_too_large(self.limit)
            await self.app(scope, counted, watched)
        except Problem as problem:
            if started or problem.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            await send_problem(problem, scope, receive, send)

    def _announced(self, scope: Scope) -> int:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        return int(length) if length.isdigit() else 0
