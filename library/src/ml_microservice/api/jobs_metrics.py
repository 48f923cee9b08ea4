"""Metrics of the job queue. They are read from the database at each scrape, so every process answers the same.

The database is read, and its driver imported, in a thread of its own at the first scrape: services start faster.
"""

import logging
from collections.abc import Iterator
from threading import Lock, Thread
from time import monotonic

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_microservice.errors import ServiceError
from ml_microservice.jobs.job import QueueStatistics
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
FRESH_SECONDS = 5.0
"""Time between two reads."""
WAIT_SECONDS = 1.0
"""Time that a scrape waits for a statistics. A database that does not answer must not fail the scrape."""
STALE_SECONDS = 30.0
"""Age at which the last read is no longer reported."""


class JobsMetrics(Collector):
    """Collects the number of jobs by state, and the length and age of the queue.

    Args:
        settings: the project's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._lock = Lock()
        self._reading: Thread | None = None
        self._begun = self._read_at = -STALE_SECONDS
        self._latest: QueueStatistics | None = None
        self._is_away = False

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format. This blocks, so call it in a thread."""
        with self._lock:
            is_reading = self._reading is not None and self._reading.is_alive()
            if not is_reading and monotonic() - self._begun >= FRESH_SECONDS:
                self._begun = monotonic()
                self._reading = Thread(target=self._read, name="jobs-metrics", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(WAIT_SECONDS)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics of the last read; none before the tables of jobs exist."""
        statistics = self._latest if monotonic() - self._read_at < STALE_SECONDS else None
        if statistics is not None or self._is_away:
            yield GaugeMetricFamily(
                "jobs_database_up", "1 while the database of jobs answers.", int(statistics is not None)
            )
        if statistics is None:
            return
        jobs = GaugeMetricFamily("jobs_in_state", "Jobs, by state, until they are deleted.", labels=["state"])
        for state, count in statistics.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
        chunks = GaugeMetricFamily("jobs_chunks", "Unfinished chunks of jobs, by state.", labels=["state"])
        chunks.add_metric(["queued"], statistics.chunks_queued)
        chunks.add_metric(["running"], statistics.chunks_running)
        yield chunks
        age = statistics.oldest_queued_seconds
        yield GaugeMetricFamily("jobs_oldest_queued_seconds", "Age of the oldest job that no worker has begun.", age)
        dead = GaugeMetricFamily("jobs_dead_letters", "Failed jobs, by whose fault it was.", labels=["fault"])
        dead.add_metric(["service"], statistics.dead_letters)
        dead.add_metric(["caller"], statistics.refused)
        yield dead
        yield GaugeMetricFamily("jobs_retries", "Attempts beyond the first, of unfinished chunks.", statistics.retries)

    def describe(self) -> list[Metric]:
        """No descriptions: the names are known after the first read."""
        return []

    def _read(self) -> None:
        try:
            self._latest = _statistics(self._settings)
        except ServiceError as error:
            if not self._is_away:
                logger.warning("cannot read the metrics of jobs: %s", error)
            self._latest, self._is_away = None, True
        else:
            self._read_at, self._is_away = monotonic(), False


def _statistics(settings: Settings) -> QueueStatistics | None:
    """Read the statistics; None if there are no tables of jobs yet.

    Raises:
        ServiceError: the database does not answer.
    """
    scheme, _, path = settings.database.url.partition(":///")
    if scheme.startswith("sqlite") and not (settings.root / path.partition("?")[0]).is_file():
        return None
    from sqlalchemy import inspect

    from ml_microservice.database.engine import open_engine, reported
    from ml_microservice.jobs.store.job_store import JobStore
    from ml_microservice.jobs.store.tables import chunks

    engine = open_engine(settings)
    try:
        with reported(engine):
            if not inspect(engine).has_table(chunks.name):
                return None
        return JobStore(engine, settings).statistics()
    finally:
        engine.dispose()
