"""The gRPC server: in the process and on the event loop of the HTTP server."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from ml_microservice.api.grpc.service import InferenceService
from ml_microservice.api.traffic import InWork
from ml_microservice.inference.core import Core
from ml_microservice.settings import ApiSettings

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving(api: ApiSettings, core: Core, in_work: InWork) -> AsyncIterator[None]:
    """Serve on `api.grpc_port` while the block runs; requests in work are finished afterwards.

    Raises:
        RuntimeError: the port cannot be listened on.
    """
    options = [
        ("grpc.so_reuseport", 1),  # each worker process listens for itself
        ("grpc.max_receive_message_length", api.max_body_bytes),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((InferenceService(core, in_work, api.opening_keys).handler,))
    host = f"[{api.host}]" if ":" in api.host else api.host
    server.add_insecure_port(f"{host}:{api.grpc_port}")
    await server.start()
    logger.info("gRPC on %s:%s", host, api.grpc_port)
    try:
        yield
    finally:
        await server.stop(api.shutdown_seconds)
