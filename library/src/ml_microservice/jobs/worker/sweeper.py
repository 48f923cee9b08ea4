"""The sweeper: sends lost messages again, frees chunks whose lease has expired, sends webhooks, and deletes old jobs.

It is a child process of each worker, `ml-service sweep`. Several sweepers may run at a time.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from time import monotonic

from ml_microservice.errors import ServiceError
from ml_microservice.jobs.job import ChunkRef
from ml_microservice.jobs.queue.job_queue import JobQueue, shared_messages
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.store.job_store import JobStore, open_job_store
from ml_microservice.jobs.webhooks.delivery import deliver_due
from ml_microservice.jobs.worker import metrics
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
SWEEP_SECONDS = 2.0
TIDY_SECONDS = 60.0
"""Time between two deletions of old jobs."""
ORPHANED_SECONDS = 3600.0
"""Age at which files without a job are deleted. A body is written before its job is inserted."""
BATCH_CHUNKS = 500
"""Chunks whose messages are sent at a time."""


class Sweeper:
    """Sweeps until it is stopped.

    Args:
        settings: the project's.
        queue: sends messages.
        storage: holds bodies and results.
        stopping: set to stop the sweeper.
    """

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        storage: JobStorage,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._storage = storage
        self._stopping = stopping
        self._orphans: dict[str, float] = {}
        """When files without a job were first seen, by job id."""
        self._next_tidy = 0.0

    def run(self) -> None:
        """Sweep. A second thread sends the webhooks, so that a slow receiver delays no jobs."""
        hooks = threading.Thread(target=self._repeat, args=(self._send_webhooks,), name="webhooks", daemon=True)
        hooks.start()
        self._repeat(self._sweep)

    def _repeat(self, sweep: Callable[[JobStore], None]) -> None:
        """Sweep again and again. A failure is logged once, and retried."""
        failure, store = "", None
        while not self._stopping.is_set():
            try:
                store = store or open_job_store(self._settings)
                sweep(store)
                failure = ""
            except ServiceError as error:
                if str(error) != failure:
                    logger.warning("%s; trying again", error)
                failure = str(error)
            except Exception:
                logger.exception("the sweeper failed; it continues")
            self._stopping.wait(SWEEP_SECONDS)

    def _sweep(self, store: JobStore) -> None:
        self.publish(store)
        if monotonic() >= self._next_tidy:
            self.tidy(store)
            self._next_tidy = monotonic() + TIDY_SECONDS

    def publish(self, store: JobStore) -> None:
        """Send messages for queued chunks that seem to have none.

        Raises:
            BrokerError: the broker is down.
            DatabaseError: the database is down.
        """
        while not self._stopping.is_set():
            depth = self._queue.depth()
            lost = store.to_publish(queue_is_empty=depth["small"] + depth["bulk"] == 0, limit=BATCH_CHUNKS)
            if lost:
                try:
                    small = _messages(store, [ref for ref, is_bulk in lost if not is_bulk])
                    self._queue.publish(small, [ref for ref, is_bulk in lost if is_bulk])
                except ServiceError:
                    store.unpublished([ref for ref, _ in lost])
                    raise
                logger.info("sent messages for %d chunks again", len(lost))
                metrics.SWEPT.labels("republished").inc(len(lost))
            if len(lost) < BATCH_CHUNKS:
                return

    def tidy(self, store: JobStore) -> None:
        """Delete expired jobs, and files without a job.

        Raises:
            DatabaseError: the database is down.
        """
        expired = store.expire()
        metrics.SWEPT.labels("expired").inc(len(expired))
        self._remove(expired)
        now, stored = monotonic(), self._storage.ids()
        unknown = set(stored) - store.progress(stored).keys() if stored else set()
        self._orphans = {job_id: self._orphans.get(job_id, now) for job_id in unknown}
        old = [job_id for job_id, since in self._orphans.items() if now - since >= ORPHANED_SECONDS]
        metrics.SWEPT.labels("orphaned").inc(len(old))
        self._remove(old)

    def _remove(self, job_ids: Collection[str]) -> None:
        for job_id in job_ids:
            try:
                self._storage.remove(job_id)
            except (OSError, ServiceError):
                logger.exception("cannot delete the files of job %s yet", job_id)

    def _send_webhooks(self, store: JobStore) -> None:
        if self._settings.jobs.webhook_key is None:
            return
        while not self._stopping.is_set() and (tried := deliver_due(store, self._settings, datetime.now(UTC))):
            metrics.SWEPT.labels("webhooks").inc(tried)


def _messages(store: JobStore, refs: Sequence[ChunkRef]) -> list[Sequence[ChunkRef]]:
    """Group small jobs into messages. A chunk that was started before goes alone, since it may have killed a worker."""
    jobs = store.progress([job_id for job_id, _ in refs]) if refs else {}
    started = {job_id for job_id, job in jobs.items() if job.attempts}
    others = [ref for ref in refs if ref[0] not in started]
    return [*shared_messages(others), *([ref] for ref in refs if ref[0] in started)]


def sweep_beside(settings: Settings) -> None:
    """Sweep until stdin ends, which happens when the parent process ends.

    Raises:
        ConfigError: the settings have no broker, or an optional dependency is missing.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or container sends them to all processes
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_await_end, args=(stopping,), daemon=True).start()
    Sweeper(settings, JobQueue(settings), JobStorage(settings), stopping).run()


def _await_end(stopping: threading.Event) -> None:
    sys.stdin.buffer.read(1)
    stopping.set()
