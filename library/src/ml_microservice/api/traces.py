"""A span for every request, around the whole application; used only where tracing is on."""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_microservice.api.hot_route import HotEndpoint
from ml_microservice.api.metrics import METHODS
from ml_microservice.api.traffic import PROBES
from ml_microservice.tracing.tracer import Tracer

PROPAGATED = frozenset({b"traceparent", b"tracestate"})


class RequestSpans:
    """Continues the caller's trace or begins one, except for health checks and metrics.

    Args:
        app: the application, with the hot route.
        endpoints: the endpoints of the hot route; the router knows the routes of all others.
        tracer: the tracer of this process.
    """

    def __init__(self, app: ASGIApp, endpoints: Iterable[HotEndpoint], tracer: Tracer) -> None:
        self.app = app
        self._routes = {("POST", endpoint.path): endpoint.route for endpoint in endpoints}
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in PROPAGATED}
        block = self._tracer.request(method, headers)
        if block is None:
            await self.app(scope, receive, send)
            return
        with block as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        span.fail(str(message["status"]))
                await send(message)

            try:
                await self.app(scope, receive, watched)
            finally:
                # Never the path: of one that is unknown, nobody knows what it holds.
                route = getattr(scope.get("route"), "path", None) or self._routes.get((method, scope["path"]))
                if route is not None:
                    span.rename(f"{method} {route}")
                    span.set_attribute("http.route", route)
