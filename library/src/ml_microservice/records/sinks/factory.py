"""Creates the sinks that `config.yaml` names. The module of a sink is imported only if it is used."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.extras import how_to_install
from ml_microservice.records.sinks.sink import Sink
from ml_microservice.settings import Settings

SINKS: dict[str, Callable[[Any, Settings], Sink]] = {
    "database": lambda module, settings: module.DatabaseSink(settings),
    "fluentd": lambda module, settings: module.FluentdSink(
        settings.fluentd, settings.root, settings.fluentd.tag or settings.name
    ),
    "stdout": lambda module, _: module.StdoutSink(),
}
"""Functions that create a sink from its module. The libraries of a sink are an extra of the same name."""


def open_sinks(settings: Settings) -> list[Sink]:
    """Create all sinks of a project. They connect when they are first used.

    Raises:
        ServiceError: no sink is configured, or a library that a sink needs is not installed.
    """
    if not settings.records.sinks:
        advice = "name one, or several, of database, fluentd and stdout"
        raise ServiceError(Fault("records.sinks is empty: nothing is recorded", "config.yaml", advice=advice))
    return [open_sink(settings, name) for name in dict.fromkeys(settings.records.sinks)]


def open_sink(settings: Settings, name: str) -> Sink:
    """Create a sink. It connects when it is first used.

    Raises:
        ServiceError: a library that the sink needs is not installed.
    """
    try:
        module = import_module(f"ml_microservice.records.sinks.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ml_microservice"):
            raise
        message = f"the sink {name!r} needs {error.name}, which is not installed"
        advice = f"{how_to_install(name)}; or take {name!r} out of records.sinks"
        raise ServiceError(Fault(message, "config.yaml", advice=advice)) from None
    return SINKS[name](module, settings)
