"""Starting the HTTP server: uvicorn with uvloop and httptools, in this process or in several workers."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from ml_microservice.api.grpc.port import require_free_port
from ml_microservice.artefact.reader import read_manifest
from ml_microservice.artefact.store import version_folder
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.logs import configure_logging
from ml_microservice.processes.metrics import shared_metrics
from ml_microservice.processes.workers import Service, Workers
from ml_microservice.records.segment import prepare_folder
from ml_microservice.records.shipping_child import ShippingChild
from ml_microservice.settings import ENV_PREFIX, Settings, load_settings
from ml_microservice.tracing.startup import require_tracing

if TYPE_CHECKING:
    from ml_microservice.inference.served_model import ReadModel

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 1.0
"""Time that an open connection has for one more request, whose answer closes it."""


def run(options: Mapping[str, str | int | None]) -> None:
    """Serve until SIGTERM or SIGINT; requests in work are then finished.

    Args:
        options: settings of the section `api` that override `config.yaml`; None leaves a setting alone.

    Raises:
        ServiceError: the configuration, the model or the folder of records cannot be used, or a port is taken.
    """
    # Workers may read their settings again, so options of the command line are passed on by the environment.
    for name, value in options.items():
        if value is not None:
            os.environ[f"{ENV_PREFIX}API__{name.upper()}"] = str(value)
    settings = load_settings()
    configure_logging(settings.logging)
    if settings.records.sinks:
        prepare_folder(settings.records_directory)
    # SIGTERM while the model is being read is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    require_free_port(settings.api)
    require_tracing(settings)
    with listener(settings) as listening:
        if settings.api.workers == 1:
            shipping = ShippingChild(settings)
            try:
                serve(settings, listening, on_started=shipping.start)
            finally:
                shipping.stop()
            return
        # Each worker can fill one core, and threads of a library would not survive the fork.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with shared_metrics():
            Workers(Service(serve, _read_model, ShippingChild), settings, listening).run()


def listener(settings: Settings) -> socket.socket:
    """The bound socket of the service; connections are accepted only once a server listens on it.

    Raises:
        ServiceError: there is no model to serve, or the port is taken.
    """
    read_manifest(version_folder(settings))
    host, port = settings.api.host, settings.api.port
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        message = f"cannot listen on {host}:{port}: {error.strerror}"
        advice = "choose another with --port or api.port; 0 takes a free one"
        raise ServiceError(Fault(message, file="config.yaml", advice=advice)) from None
    logger.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, bound.getsockname()[1])
    return bound


def serve(
    settings: Settings,
    listening: socket.socket,
    model: "ReadModel | None" = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    Args:
        settings: the project's settings.
        listening: the bound socket.
        model: the model, if it was read before this process was forked; by default it is read here.
        on_started: called once requests are answered.

    Raises:
        ServiceError: the model cannot be used.
    """
    # It imports prometheus_client, which looks for the folder of shared metrics at that moment.
    from ml_microservice.api.app import create_app

    config = uvicorn.Config(
        create_app(settings, model),
        workers=1,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.api.shutdown_seconds,
    )
    Server(config, on_started).run(sockets=[listening])


def _read_model(settings: Settings) -> "ReadModel":
    # A parent whose workers read their own copies of the model does without the libraries for it.
    from ml_microservice.inference.served_model import read_configured_model

    return read_configured_model(settings)


class Server(uvicorn.Server):
    """uvicorn's server, with a shutdown that cuts off no caller."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, answer open ones once more with `connection: close`, then end as uvicorn does.

        uvicorn alone resets connections that wait in the backlog, and closes a connection between two requests
        although the second one is on its way.
        """
        self.server_state.default_headers.append((b"connection", b"close"))
        # Requests that only wait for a job would delay the shutdown.
        self.lifespan.state.get("on_stopping", lambda: None)()
        waiting = [caller for listening in sockets or () for caller in _backlog(listening)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for caller in waiting:
            await loop.connect_accepted_socket(self._protocol, caller)
        deadline = loop.time() + DRAIN_SECONDS
        while self.server_state.connections and loop.time() < deadline and not self.force_exit:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(self.config, self.server_state, self.lifespan.state)
        return protocol


def _backlog(listening: socket.socket) -> Iterator[socket.socket]:
    """Connections that wait to be accepted."""
    with suppress(BlockingIOError):
        while True:
            yield listening.accept()[0]
