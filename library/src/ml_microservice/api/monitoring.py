"""Results of monitoring: computed in a child process, answered as JSON and exported as metrics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Query, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_microservice.inference.problems import Problem
from ml_microservice.monitoring.computation import (
    RETRY_SECONDS,
    Computation,
    ComputationRunner,
    Computed,
    NotComputed,
    TooManyComputations,
    latest,
)
from ml_microservice.records.period import FORM, period
from ml_microservice.settings import Settings

WindowLength = Annotated[
    str | None, Query(description=f"Age up to which predictions are looked at: {FORM}.", max_length=20)
]
"""The query parameter `window`, which `seconds_of` reads."""
LIBRARIES = ("pandas", "scipy", "sklearn")
"""Libraries that the computation needs; an image with a compiled model may lack them."""


@dataclass(frozen=True)
class Watched:
    """A computation whose latest result is exported as metrics."""

    computation: Computation
    families: Callable[[dict[str, Any]], Iterable[Metric]]
    """Makes the metrics from a result."""


class Monitoring:
    """Results that are computed from the records in the database.

    Args:
        settings: the project's settings.
        watched: the computations that are exported as metrics. A scrape shows the latest results, and starts the
            computation of those that are too old: it never waits, and without scrapes nothing is computed.
    """

    def __init__(self, settings: Settings, watched: Sequence[Watched]) -> None:
        self.settings = settings
        self._watched = tuple(watched)
        self._computer = ComputationRunner(settings)
        self._registry = CollectorRegistry()
        self._known: dict[str, Computed] = {}
        self._registry.register(_Latest(self._watched, self._known))

    @property
    def has_records(self) -> bool:
        """Whether there is a database of records to compute from."""
        return "database" in self.settings.records.sinks

    @property
    def lacks(self) -> list[str]:
        """The libraries needed for computations that are not installed."""
        return [name for name in LIBRARIES if find_spec(name) is None]

    async def computed(self, computation: Computation) -> Computed:
        """A result that is at most `monitoring.refresh_seconds` old.

        Raises:
            Problem: there is no database of records, a library is missing, the computation failed, or too many
                computations are waiting.
        """
        if not self.has_records:
            raise no_records()
        if self.lacks:
            raise no_libraries(self.lacks)
        try:
            return await self._computer.computed(computation)
        except NotComputed:
            raise not_computed() from None
        except TooManyComputations:
            raise too_many_computations() from None

    async def exposition(self) -> bytes:
        """The metrics of the latest results."""
        if not self.has_records or self.lacks:
            return b""
        for watched in self._watched:
            computation = watched.computation
            known = await to_thread.run_sync(latest, self.settings, computation)
            if known is not None:
                self._known[computation.name] = known
            if known is None or known.age >= self.settings.monitoring.refresh_seconds:
                self._computer.begin(computation)
        return generate_latest(self._registry)

    async def close(self) -> None:
        """Stop running computations."""
        await self._computer.close()


class _Latest(Collector):
    """Metrics of the latest results, read at each scrape."""

    def __init__(self, watched: Sequence[Watched], known: dict[str, Computed]) -> None:
        self._watched = watched
        self._known = known

    def describe(self) -> Iterator[Metric]:
        """No metrics: which ones there are is known only once results exist."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics, and the age of each result."""
        ages = GaugeMetricFamily(
            "monitoring_age_seconds", "Age of the latest result; infinite without one.", labels=["name"]
        )
        for watched in self._watched:
            known = self._known.get(watched.computation.name)
            ages.add_metric([watched.computation.name], inf if known is None else known.age)
            if known is not None:
                yield from watched.families(known.result)
        yield ages


def monitoring_of(request: Request) -> Monitoring:
    """The monitoring of the application that received a request."""
    monitoring: Any = request.app.state.monitoring
    assert isinstance(monitoring, Monitoring)
    return monitoring


def seconds_of(window: str | None, settings: Settings) -> float:
    """The length of a window in a request, by default that of `config.yaml`.

    Raises:
        Problem: the text is no length.
    """
    if window is None:
        return settings.monitoring.window_hours * 3600
    try:
        return period(window).total_seconds()
    except ValueError:
        raise Problem(422, "invalid-request", "The request is not valid", f"window must be {FORM}") from None


def no_records() -> Problem:
    """The problem where there is no database of records."""
    detail = "There is no database of predictions: config.yaml does not name 'database' in records.sinks."
    return Problem(404, "no-records", "Nothing is recorded", detail)


def no_libraries(names: list[str]) -> Problem:
    """The problem where libraries for a computation are not installed."""
    detail = f"{', '.join(names)} is not installed here: run `ml-service drift` or `ml-service performance` elsewhere."
    return Problem(501, "not-installed", "Not computed here", detail)


def not_computed() -> Problem:
    """The problem where a computation failed."""
    detail = "It could not be computed from the database of predictions; the service's log says why."
    return Problem(503, "not-computed", "Not computed", detail, headers={"retry-after": str(RETRY_SECONDS)})


def too_many_computations() -> Problem:
    """The problem where too many computations are waiting."""
    detail = "Other results are being computed: try again in some seconds."
    return Problem(429, "too-many-requests", "Too many requests", detail, headers={"retry-after": "10"})
