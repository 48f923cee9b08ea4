"""What traces need, looked at before anything is loaded: later, an error would come from a worker process."""

import os
import socket
from typing import TYPE_CHECKING

from ml_microservice.errors import ConfigError, Fault
from ml_microservice.extras import how_to_install, is_installed
from ml_microservice.settings import CONFIG_FILE, Settings

if TYPE_CHECKING:
    from ml_microservice.tracing.tracer import Tracer


def require_tracing(settings: Settings) -> None:
    """See that OpenTelemetry is installed, where traces are asked for.

    Raises:
        ConfigError: it is not.
    """
    if settings.tracing.endpoint is not None and not is_installed("tracing"):
        message = "tracing.endpoint is set, but OpenTelemetry is not installed"
        advice = f"{how_to_install('tracing')}; or remove tracing.endpoint"
        raise ConfigError(Fault(message, file=CONFIG_FILE, advice=advice))


def open_tracer(settings: Settings) -> "Tracer | None":
    """What makes the spans of this process, and sends them from a thread; so no process may be forked afterwards.

    Returns:
        None if there are no traces.

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
