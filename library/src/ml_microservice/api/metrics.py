"""Prometheus metrics, right with any number of worker processes.

With several workers, `ml-service serve` sets `PROMETHEUS_MULTIPROC_DIR` before this module is imported: each process
then counts in files of its own in that folder, and `/metrics` adds them up, whichever process answers.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_microservice.api.jobs_metrics import JobsMetrics
from ml_microservice.api.records_metrics import RecordsMetrics
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.processes.metrics import metrics_folder
from ml_microservice.records.journal import JournalStatus

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
"""Methods that get a label; a caller could invent any number of others."""
FAILURES = (429, 500, 503)
"""Statuses whose counters exist from the start: Prometheus misses the first increment of a new counter."""
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

disable_created_metrics()  # type: ignore[no-untyped-call]
REQUESTS = Counter("http_requests", "Requests answered, by route template and status.", ["method", "route", "status"])
LATENCY = Histogram("http_request_duration_seconds", "Time to answer.", ["method", "route"], buckets=SECONDS)
PREDICTIONS = Counter("predictions", "Predictions given, by class (empty for a number).", ["prediction"])
MODEL = Gauge(
    "model_info",
    "The model that is served, as labels of a constant 1.",
    ["version", "model_id", "created_at", "task"],
    multiprocess_mode="livemax",
)
CREATED = Gauge(
    "model_created_timestamp_seconds",
    "When the model that is served was trained, as Unix time.",
    ["version"],
    multiprocess_mode="livemax",
)
APPENDED = Counter("records_appended", "Records written to local files, of predictions and of feedback.")
UNLOGGED = Counter("predictions_unlogged", "Predictions given without a record, since none could be stored.")
FAILED_SYNCS = Counter("records_failed_syncs", "Failures of the disk after which a power loss may cost records.")
WAITING = Gauge("records_waiting_bytes", "Size of all local files of records.", multiprocess_mode="livemostrecent")
FULL = Gauge("records_full", "1 while records cannot be stored.", multiprocess_mode="livemax")


def exposition(records: RecordsMetrics | None, jobs: JobsMetrics | None) -> tuple[bytes, str]:
    """The metrics of all processes, those of records and jobs where there are any, and their content type."""
    registry = REGISTRY
    if (folder := metrics_folder()) is not None:
        _forget_the_dead(folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    others = [one.exposition() for one in (records, jobs) if one is not None]
    return b"".join([generate_latest(registry), *others]), CONTENT_TYPE_LATEST


def count_predictions(served: ServedModel, values: Sequence[str | float]) -> None:
    """Count answers under their classes."""
    names = [value if isinstance(value, str) else "" for value in values]
    for name in set(names):
        counter = _counters.get(name)
        if counter is None:
            counter = _counters[name] = PREDICTIONS.labels(name)
        counter.inc(names.count(name))


_counters: dict[str, Counter] = {}
"""Counters by class: finding one by its labels takes longer than counting."""


def count_records(status: JournalStatus) -> None:
    """Take over what a journal tells of itself."""
    APPENDED.inc(status.appended)
    FAILED_SYNCS.inc(status.failed_syncs)
    WAITING.set(status.waiting_bytes)
    FULL.set(status.is_full)


def count_unlogged(count: int) -> None:
    """Count predictions that were given without a record."""
    UNLOGGED.inc(count)


def announce_model(served: ServedModel) -> None:
    """Export which model this process serves."""
    manifest = served.manifest
    MODEL.labels(manifest.version, manifest.id, manifest.created_at.isoformat(), manifest.task).set(1)
    CREATED.labels(manifest.version).set(manifest.created_at.timestamp())


def _forget_the_dead(folder: Path) -> None:
    """Drop the gauges of processes that have ended, such as the model that they served."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not _is_alive(pid):
            # Another process may be doing the same.
            with suppress(FileNotFoundError):
                mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class RouteMetrics:
    """Counts and times the requests of one route, with its counters cached."""

    def __init__(self, method: str, route: str) -> None:
        self._labels = (method, route)
        self._latency = LATENCY.labels(method, route)
        self._by_status = {status: self._counter(status) for status in FAILURES}

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._counter(status)
        counter.inc()
        self._latency.observe(seconds)

    def _counter(self, status: int) -> Counter:
        return REQUESTS.labels(*self._labels, str(status))


class RequestMetrics:
    """Counts and times every request under its route's template, never under its path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(method, route, str(status)).inc()
            LATENCY.labels(method, route).observe(perf_counter() - start)
