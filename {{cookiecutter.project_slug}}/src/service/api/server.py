"""Starting the HTTP server: uvicorn with uvloop and httptools, one or several processes."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping

import uvicorn

from service.artefact.reading import read_manifest
from service.artefact.store import ArtefactStore
from service.errors import Fault, ServiceError
from service.logs import configure_logging, logging_config
from service.settings import ENV_PREFIX, Settings, load_settings

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is first imported, which is why this module must not import it."""


def run(options: Mapping[str, str | int | None]) -> None:
    """Serve until SIGTERM or SIGINT; requests in work are then finished.

    Args:
        options: settings of the section `api` that win over `config.yaml`; None is not set.

    Raises:
        ServiceError: the configuration cannot be used, there is no model, or the port is taken.
    """
    # Worker processes read their settings anew, so what the command line says is passed on by the environment.
    for name, value in options.items():
        if value is not None:
            os.environ[f"{ENV_PREFIX}API__{name.upper()}"] = str(value)
    settings = load_settings()
    configure_logging(settings.logging)
    store = ArtefactStore(settings.model_directory)
    read_manifest(store.path(settings.artefacts.version))
    _require_free_port(settings)
    # uvicorn raises the signal that ended it once more when it is done; a stop that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        if settings.api.workers > 1:
            os.environ[MULTIPROCESS_DIR] = folder
        uvicorn.run(
            "service.api.app:create_app",
            factory=True,
            host=settings.api.host,
            port=settings.api.port,
            workers=settings.api.workers,
            http="httptools",
            log_config=logging_config(settings.logging),
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.api.shutdown_seconds,
        )


def _require_free_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api.host, settings.api.port))
        except OSError as error:
            message = f"cannot listen on {settings.api.host}:{settings.api.port}: {error.strerror}"
            advice = "choose another with --port or api.port; 0 takes a free one"
            raise ServiceError(Fault(message, file="config.yaml", advice=advice)) from None
