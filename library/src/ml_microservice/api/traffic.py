"""Limits and keys, as small pure-ASGI classes around the application."""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_microservice.inference.problems import Problem, body_too_large, no_api_key, too_many_requests
from ml_microservice.tracing.current_span import set_attribute

PROBES = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/metrics"})
"""Paths without limits and keys: monitoring must reach a busy service."""
KEYED = frozenset({"/predict", "/predict/batch", "/feedback", "/model", "/jobs"})
OWN_LIMIT = "/jobs"
"""Path with a body limit of its own, which its route enforces."""
PROBLEM_TYPE = "application/problem+json"


def error_body(problem: Problem, path: str) -> tuple[bytes, str]:
    """The body of an error answer, and its media type: below `/v2`, in the form of the Open Inference Protocol."""
    if path.startswith("/v2"):
        return orjson.dumps({"error": problem.detail}), "application/json"
    return orjson.dumps(problem.as_json()), PROBLEM_TYPE


async def send_problem(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem document."""
    set_attribute("problem.type", problem.kind)
    body, media_type = error_body(problem, scope["path"])
    headers = {"content-type": media_type, "content-length": str(len(body)), **problem.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def is_protected(path: str) -> bool:
    """Whether a path, or the template of one, needs a key where keys are set."""
    return path in KEYED or path.startswith(("/monitoring/", "/v2/models/", "/jobs/"))


def is_key(sent: bytes, keys: Sequence[bytes]) -> bool:
    """Whether `sent` is one of the keys; all are compared in constant time, so that timing reveals nothing."""
    return sum(hmac.compare_digest(sent, key) for key in keys) > 0


class InWork:
    """Counts concurrent requests, over HTTP and gRPC: each runs inside it, as a context manager.

    Args:
        limit: most concurrent requests; one more raises a Problem.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._peak = 0

    def take_peak(self) -> int:
        """The largest number of concurrent requests since the last call."""
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
        """Do not count a request while it only waits, inside the block."""
        self.count -= 1
        try:
            yield
        finally:
            # The request goes on even beyond the limit, because little of it is left.
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
