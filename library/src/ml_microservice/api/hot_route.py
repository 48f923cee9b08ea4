"""`POST /predict`, `/v2/.../infer` and `/jobs` ahead of everything else: no middleware, no routing, no request objects.

FastAPI's own routes of the same paths stay: they document the endpoints, and answer what is rare, such as requests from
web pages of other origins. A contract test proves that both answer alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from ml_microservice.api.errors import unexpected_problem
from ml_microservice.api.inference_protocol import HEADER_LENGTH, answer_headers, header_length
from ml_microservice.api.metrics import RouteMetrics
from ml_microservice.api.traffic import InWork, is_key, send_problem
from ml_microservice.inference.core import Core, nobody_hangs_up
from ml_microservice.inference.problems import Problem, body_too_large, no_api_key, not_json
from ml_microservice.inference.protocol_json import infer_json

RARE_HEADERS = frozenset({b"origin", b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers whose requests FastAPI's routes answer."""
IsGone = Callable[[], bool]
RawHeader = tuple[bytes, bytes]


class HotEndpoint(Protocol):
    """An endpoint that the hot route answers."""

    path: str
    route: str
    """Template of the path, under which requests are counted."""
    status: int
    """Status of a successful answer."""

    def takes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request is answered here; otherwise FastAPI's route answers it."""
        ...

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Check the headers, before the body is read.

        Raises:
            Problem: the request is refused.
        """
        ...

    async def answer(
        self, headers: Mapping[bytes, bytes], body: bytes, is_gone: IsGone, started: float
    ) -> tuple[bytes, Sequence[RawHeader]]:
        """The body of the answer, and its headers except the length.

        Args:
            headers: the headers of the request.
            body: the body of the request.
            is_gone: tells whether the caller has disconnected.
            started: when the request arrived, by `perf_counter`.

        Raises:
            Problem: the request is refused.
        """
        ...


class HotPredict:
    """`POST /predict`."""

    path = route = "/predict"
    status = 200
    HEADERS = ((b"content-type", b"application/json"),)

    def __init__(self, core: Core) -> None:
        self._core = core

    def takes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """See `HotEndpoint`."""
        return True

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """See `HotEndpoint`."""
        media_type = headers.get(b"content-type", b"application/json")
        if media_type != b"application/json" and media_type.split(b";")[0].strip().lower() != b"application/json":
            raise not_json()

    async def answer(
        self, headers: Mapping[bytes, bytes], body: bytes, is_gone: IsGone, started: float
    ) -> tuple[bytes, Sequence[RawHeader]]:
        """See `HotEndpoint`."""
        return await self._core.predict(body, is_gone, started), self.HEADERS


class HotInfer:
    """`POST /v2/models/{name}/infer` of the model that is served."""

    route = "/v2/models/{name}/infer"
    status = 200
    HEADER_LENGTH = HEADER_LENGTH.lower().encode()

    def __init__(self, core: Core) -> None:
        self._core = core
        self.path = self.route.format(name=core.served.manifest.project)

    def takes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """See `HotEndpoint`."""
        return True

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """See `HotEndpoint`."""
        self._length(headers)

    async def answer(
        self, headers: Mapping[bytes, bytes], body: bytes, is_gone: IsGone, started: float
    ) -> tuple[bytes, Sequence[RawHeader]]:
        """See `HotEndpoint`."""
        answer = await infer_json(self._core, body, self._length(headers), is_gone, started)
        return answer.body, [(name.encode(), value.encode()) for name, value in answer_headers(answer).items()]

    def _length(self, headers: Mapping[bytes, bytes]) -> int | None:
        sent = headers.get(self.HEADER_LENGTH)
        return None if sent is None else header_length(sent.decode("latin-1"))


class HotRoute:
    """Answers `POST` requests to the endpoints; hands everything else on to the application."""

    def __init__(
        self,
        app: ASGIApp,
        endpoints: Iterable[HotEndpoint],
        *,
        in_work: InWork,
        keys: Sequence[str],
        max_body_bytes: int,
    ) -> None:
        self.app = app
        self._endpoints = {endpoint.path: (endpoint, RouteMetrics("POST", endpoint.route)) for endpoint in endpoints}
        self._in_work = in_work
        self._keys = tuple(key.encode() for key in keys)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        headers = dict(scope["headers"]) if found is not None else {}
        if found is None or scope["method"] != "POST" or not RARE_HEADERS.isdisjoint(headers):
            await self.app(scope, receive, send)
            return
        endpoint, metrics = found
        if not endpoint.takes(scope, headers):
            await self.app(scope, receive, send)
            return
        start = perf_counter()
        try:
            with self._in_work:
                self._check(headers)
                endpoint.check(headers)
                body, answered = await endpoint.answer(headers, await _body(receive), _hang_up(receive), start)
        except Problem as problem:
            metrics.answered(problem.status, perf_counter() - start)
            await send_problem(problem, scope, receive, send)
            return
        except Exception as error:
            metrics.answered(500, perf_counter() - start)
            await send_problem(unexpected_problem("POST", scope["path"], error), scope, receive, send)
            return
        # Counted before it is sent: an answer that a caller has is counted even if this process is killed.
        metrics.answered(endpoint.status, perf_counter() - start)
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": endpoint.status, "headers": [*answered, length]})
        await send({"type": "http.response.body", "body": body})

    def _check(self, headers: Mapping[bytes, bytes]) -> None:
        """Check key and size, before the body is read.

        Raises:
            Problem: there is no valid key, or the body is too large.
        """
        if self._keys and not is_key(headers.get(b"x-api-key", b""), self._keys):
            raise no_api_key()
        if int(headers.get(b"content-length", b"0")) > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _hang_up(receive: Receive) -> IsGone:
    """A function that tells whether the caller has disconnected, if the server knows it without waiting, as uvicorn
    does."""
    cycle: Any = getattr(receive, "__self__", None)
    return (lambda: bool(cycle.disconnected)) if hasattr(cycle, "disconnected") else nobody_hangs_up
