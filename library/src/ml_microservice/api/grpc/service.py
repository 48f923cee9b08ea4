"""The methods of the protocol's service: each reads a message, asks the core, and wraps its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import grpc
from grpc.aio import ServicerContext
from prometheus_client import Counter, Histogram

from ml_microservice.api.errors import unexpected_problem
from ml_microservice.api.grpc.messages import CLASSES, SERVICE
from ml_microservice.api.grpc.tensors import read_request, write_answer
from ml_microservice.api.metrics import SECONDS
from ml_microservice.api.traffic import InWork, is_key
from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import Problem, no_api_key
from ml_microservice.inference.protocol import SMALL_BODY, check_model, infer, model_metadata, server_metadata

REQUESTS = Counter("grpc_requests", "gRPC requests answered, by method and status.", ["method", "code"])
LATENCY = Histogram("grpc_request_duration_seconds", "Time to answer by gRPC.", ["method"], buckets=SECONDS)
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC's status for the HTTP status of a problem."""
FAILURES = (grpc.StatusCode.RESOURCE_EXHAUSTED.name, grpc.StatusCode.INTERNAL.name, grpc.StatusCode.UNAVAILABLE.name)
"""Statuses whose counters exist from the start, as over HTTP."""
MAX_DETAIL = 2_000
"""Most characters of an error's text: it travels in a header, and clients refuse long ones."""
KEY = "x-api-key"
Method = Callable[[Any], Awaitable[Any]]


class InferenceService:
    """The protocol's service over the core; a server is given its `handler`.

    Args:
        core: answers the rows.
        in_work: counts concurrent requests, together with those over HTTP.
        keys: API keys, of which a caller sends one as metadata; without keys the service is open.
    """

    def __init__(self, core: Core, in_work: InWork, keys: Sequence[str]) -> None:
        self._core = core
        self._in_work = in_work
        self._keys = tuple(key.encode() for key in keys)
        table: dict[str, tuple[Method, bool]] = {
            "ServerLive": (self.server_live, False),
            "ServerReady": (self.server_ready, False),
            "ServerMetadata": (self.server_metadata, False),
            "ModelReady": (self.model_ready, True),
            "ModelMetadata": (self.model_metadata, True),
            "ModelInfer": (self.model_infer, True),
        }
        handlers = {name: self._handler(name, *entry) for name, entry in table.items()}
        self.handler = grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def server_live(self, request: Any) -> Any:
        """Answers as long as the process does."""
        return CLASSES["ServerLiveResponse"](live=True)

    async def server_ready(self, request: Any) -> Any:
        """Answers once a model is loaded, verified and warm; not while predictions are refused."""
        self._core.check()
        return CLASSES["ServerReadyResponse"](ready=True)

    async def server_metadata(self, request: Any) -> Any:
        """Name and version of the server; tensors as bytes are part of the messages, so no extension."""
        manifest = self._core.served.manifest
        found = server_metadata(manifest.project, manifest.version)
        return CLASSES["ServerMetadataResponse"](**{**found, "extensions": ["model_versions"]})

    async def model_ready(self, request: Any) -> Any:
        """Answers once the model is loaded, verified and warm; not while predictions are refused."""
        check_model(self._core.served, request.name, request.version)
        self._core.check()
        return CLASSES["ModelReadyResponse"](ready=True)

    async def model_metadata(self, request: Any) -> Any:
        """Every feature is an input, named after it."""
        check_model(self._core.served, request.name, request.version)
        found = model_metadata(self._core.served)
        for tensor in found["inputs"]:
            del tensor["parameters"]  # the message has no field for it
        return CLASSES["ModelMetadataResponse"](**found)

    async def model_infer(self, request: Any) -> Any:
        """Predict one or many rows, which all have to be valid."""
        check_model(self._core.served, request.model_name, request.model_version)
        is_small = request.ByteSize() < SMALL_BODY
        inferred = await infer(self._core, lambda: read_request(request), is_small=is_small)
        return write_answer(request.model_name, inferred)

    def _handler(self, name: str, method: Method, is_protected: bool) -> Any:
        latency = LATENCY.labels(name)
        for failure in FAILURES:
            REQUESTS.labels(name, failure)

        async def answer(request: Any, context: ServicerContext) -> Any:
            start = perf_counter()
            code, detail = grpc.StatusCode.OK, ""
            try:
                return await (self._protected(method, request, context) if is_protected else method(request))
            except Problem as problem:
                code, detail = CODES[problem.status], problem.detail
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                code, detail = grpc.StatusCode.INTERNAL, unexpected_problem("gRPC", name, error).detail
            finally:
                REQUESTS.labels(name, code.name).inc()
                latency.observe(perf_counter() - start)
            await context.abort(code, detail[:MAX_DETAIL])

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=CLASSES[f"{name}Request"].FromString,
            response_serializer=CLASSES[f"{name}Response"].SerializeToString,
        )

    async def _protected(self, method: Method, request: Any, context: ServicerContext) -> Any:
        """Answer within the limit of concurrent requests, and only with a valid key.

        Raises:
            Problem: too many requests are in work, there is no valid key, or what the method raises.
        """
        with self._in_work:
            if self._keys and not is_key(_key(context), self._keys):
                raise no_api_key()
            return await method(request)


def _key(context: ServicerContext) -> bytes:
    sent = next((value for name, value in context.invocation_metadata() or () if name == KEY), "")
    return sent if isinstance(sent, bytes) else sent.encode()
