"""`POST /predict` ahead of everything else: bytes to answer without middleware, routing or request objects.

FastAPI's own route of the same path stays: it documents the endpoint, and answers what is rare, such as requests from
web pages of other origins. A contract test proves that both answer alike.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import unexpected_problem
from service.api.metrics import RouteMetrics
from service.api.traffic import is_key, send_problem
from service.inference.core import Core, nobody_hangs_up
from service.inference.problems import Problem, body_too_large, no_api_key, not_json

PATH = "/predict"
OK_HEADERS = (b"content-type", b"application/json")
RARE_HEADERS = frozenset({b"origin", b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers whose requests FastAPI's route answers."""


class HotRoute:
    """Answers `POST /predict`; hands everything else on to the application."""

    def __init__(self, app: ASGIApp, core: Core, keys: Sequence[str], max_body_bytes: int) -> None:
        self.app = app
        self._core = core
        self._keys = tuple(key.encode() for key in keys)
        self._max_body_bytes = max_body_bytes
        self._metrics = RouteMetrics("POST", PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not RARE_HEADERS.isdisjoint(headers):
            await self.app(scope, receive, send)
            return
        start = perf_counter()
        try:
            self._check(headers)
            answer = await self._core.predict(await self._body(receive), _hang_up(receive), start)
        except Problem as problem:
            await send_problem(problem, scope, receive, send)
            self._metrics.answered(problem.status, perf_counter() - start)
            return
        except Exception as error:
            await send_problem(unexpected_problem("POST", PATH, error), scope, receive, send)
            self._metrics.answered(500, perf_counter() - start)
            return
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [OK_HEADERS, length]})
        await send({"type": "http.response.body", "body": answer})
        self._metrics.answered(200, perf_counter() - start)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what the body need not be read for.

        Raises:
            Problem: no valid key, another content type, or too large a body.
        """
        if self._keys and not is_key(headers.get(b"x-api-key", b""), self._keys):
            raise no_api_key()
        if int(headers.get(b"content-length", b"0")) > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)
        media_type = headers.get(b"content-type", b"application/json")
        if media_type != b"application/json" and media_type.split(b";")[0].strip().lower() != b"application/json":
            raise not_json()

    async def _body(self, receive: Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        return body


def _hang_up(receive: Receive) -> Callable[[], bool]:
    """Whether the caller has hung up, where the server lets us look without waiting, as uvicorn does."""
    cycle: Any = getattr(receive, "__self__", None)
    return (lambda: bool(cycle.disconnected)) if hasattr(cycle, "disconnected") else nobody_hangs_up
