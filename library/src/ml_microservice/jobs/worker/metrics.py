"""Prometheus metrics of a worker, added up over its processes.

The main process sets `PROMETHEUS_MULTIPROC_DIR` before it imports this module.
"""

from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

disable_created_metrics()  # type: ignore[no-untyped-call]
RUNS = Histogram(
    "job_run_seconds",
    "Time to run chunks, or small jobs together, by outcome: done, failed, retried, stopped, returned.",
    ["outcome"],
    buckets=SECONDS,
)
ATTEMPTS = Counter("job_chunk_attempts", "Chunks that were begun, repetitions included.")
RETRIES = Counter("job_chunk_retries", "Chunks that failed or took too long and are run once more.")
GAVE_UP = Counter("job_chunks_given_up", "Chunks that were begun too often, whose jobs have failed.")
ROWS = Counter("job_rows", "Rows of finished chunks.")
ROWS_FAILED = Counter("job_rows_failed", "Those that were answered by a problem.")
UNLOGGED = Counter("job_rows_unlogged", "Predictions of jobs without a record, since none could be stored.")
SWEPT = Counter("jobs_swept", "What the sweeper did: sent messages again, deleted jobs and files.", ["what"])


def count_run(outcome: str, started: float) -> None:
    """Count a run that started at a time of the monotonic clock."""
    RUNS.labels(outcome).observe(monotonic() - started)


def count_unlogged(count: int) -> None:
    """Count predictions without a record."""
    UNLOGGED.inc(count)


def serve(host: str, port: int) -> None:
    """Serve `/metrics` for all processes from a thread.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, host, registry)
