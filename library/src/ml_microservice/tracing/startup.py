"""Checks at startup that tracing can work, and opens the tracer of a process."""

import os
import socket
from typing import TYPE_CHECKING

from ml_microservice.errors import ConfigError, Fault
from ml_microservice.extras import how_to_install, is_installed
from ml_microservice.settings import CONFIG_FILE, Settings

if TYPE_CHECKING:
    from ml_microservice.tracing.tracer import Tracer


def require_tracing(settings: Settings) -> None:
    """Check that OpenTelemetry is installed if tracing is on. Called before worker processes start.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if settings.tracing.endpoint is not None and not is_installed("tracing"):
        message = "tracing.endpoint is set, but OpenTelemetry is not installed"
        advice = f"{how_to_install('tracing')}; or remove tracing.endpoint"
        raise ConfigError(Fault(message, file=CONFIG_FILE, advice=advice))


def open_tracer(settings: Settings) -> "Tracer | None":
    """The tracer of this process. It starts a thread, so no process may be forked afterwards.

    Returns:
        None if tracing is off.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    require_tracing(settings)
    tracing = settings.tracing
    if tracing.endpoint is None:
        return None
    from ml_microservice.tracing.tracer import Tracer

    resource = {
        "service.name": settings.name,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "deployment.environment.name": settings.environment,
    }
    return Tracer(tracing.endpoint, tracing.sample_ratio, tracing.timeout_seconds, resource)
