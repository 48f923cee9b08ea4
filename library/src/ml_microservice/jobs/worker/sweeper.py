"""The sweeper: sends messages that were lost, takes chunks from workers that are gone, and clears away what is old.

A process beside a worker's, `ml-service sweep`. Several of them do each other no harm.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from ml_microservice.errors import ServiceError
from ml_microservice.jobs.job import ChunkRef
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.submission.publisher import MESSAGE_CHUNKS
from ml_microservice.jobs.worker import metrics
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.storage import JobStorage
    from ml_microservice.jobs.store.job_store import JobStore

logger = logging.getLogger(__name__)
SWEEP_SECONDS = 2.0
TIDY_SECONDS = 60.0
"""Between two looks for expired jobs."""
ORPHANED_SECONDS = 3600.0
"""Age of files without a job before they are deleted: a body is stored before its job is."""
AT_ONCE = 500
"""Messages that are sent before the next look."""


class Sweeper:
    """Sweeps until it is told to end.

    Args:
        settings: of the project.
        open_store: opens the store of the jobs.
        queue: to the workers.
        storage: of bodies and results.
        ended: set when it is to end.
    """

    def __init__(
        self,
        settings: Settings,
        open_store: "Callable[[], JobStore]",
        queue: JobQueue,
        storage: "JobStorage",
        ended: threading.Event,
    ) -> None:
        self._settings = settings
        self._open_store = open_store
        self._queue = queue
        self._storage = storage
        self._ended = ended
        self._orphans: dict[str, float] = {}
        """When they were first seen, by the id of the job that there is not."""
        self._next_tidy = 0.0

    def run(self) -> None:
        """Sweep; webhooks are sent by a thread of their own, so that a slow receiver holds up no jobs."""
        hooks = threading.Thread(target=self._each, args=(self._send_webhooks,), name="webhooks", daemon=True)
        hooks.start()
        self._each(self._sweep)

    def _each(self, sweep: "Callable[[JobStore], None]") -> None:
        """Sweep again and again; what is away is told of once, and waited for."""
        trouble, store = "", None
        while not self._ended.is_set():
            try:
                store = store or self._open_store()
                sweep(store)
                trouble = ""
            except ServiceError as error:
                if str(error) != trouble:
                    logger.warning("%s; trying again", error)
                trouble = str(error)
            except Exception:
                logger.exception("the sweeper failed; it goes on")
            self._ended.wait(SWEEP_SECONDS)

    def _sweep(self, store: "JobStore") -> None:
        self.publish(store)
        if monotonic() >= self._next_tidy:
            self.tidy(store)
            self._next_tidy = monotonic() + TIDY_SECONDS

    def publish(self, store: "JobStore") -> None:
        """Send messages for chunks that wait and for which there seems to be none.

        Raises:
            BrokerError: the broker is away.
            DatabaseError: the database is.
        """
        while not self._ended.is_set():
            depth = self._queue.depth()
            lost = store.to_publish(queue_is_empty=depth["small"] + depth["bulk"] == 0, limit=AT_ONCE)
            if lost:
                try:
                    small = _messages(store, [ref for ref, is_bulk in lost if not is_bulk])
                    self._queue.publish(small, [ref for ref, is_bulk in lost if is_bulk])
                except ServiceError:
                    store.unpublished([ref for ref, _ in lost])
                    raise
                logger.info("messages for %d chunks were sent again", len(lost))
                metrics.SWEPT.labels("republished").inc(len(lost))
            if len(lost) < AT_ONCE:
                return

    def tidy(self, store: "JobStore") -> None:
        """Delete jobs that have expired, and files of jobs that there are not.

        Raises:
            DatabaseError: the database is away.
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
                logger.exception("the files of job %s cannot be deleted yet", job_id)

    def _send_webhooks(self, store: "JobStore") -> None:
        if self._settings.jobs.webhook_key is None:
            return
        from ml_microservice.jobs.webhooks.delivery import deliver_due

        while not self._ended.is_set() and (tried := deliver_due(store, self._settings, datetime.now(UTC))):
            metrics.SWEPT.labels("webhooks").inc(tried)


def _messages(store: "JobStore", refs: Sequence[ChunkRef]) -> list[list[ChunkRef]]:
    """Messages for chunks of small jobs: one for each that was begun, since its worker may have died of it."""
    jobs = store.progress([job_id for job_id, _ in refs]) if refs else {}
    begun = {job_id for job_id, job in jobs.items() if job.attempts}
    others = [ref for ref in refs if ref[0] not in begun]
    shared = [others[start : start + MESSAGE_CHUNKS] for start in range(0, len(others), MESSAGE_CHUNKS)]
    return [*shared, *([ref] for ref in refs if ref[0] in begun)]


def sweep_beside(settings: Settings) -> None:
    """Sweep until stdin ends, which it does when the process that started this one ends.

    Raises:
        ConfigError: there is no broker, or what it needs is not installed.
    """
    from ml_microservice.jobs.storage import JobStorage
    from ml_microservice.jobs.store.job_store import open_job_store

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # which reach all processes of a terminal, or of a container
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    Sweeper(settings, lambda: open_job_store(settings), JobQueue(settings), JobStorage(settings), ended).run()


def _await_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read(1)
    ended.set()
