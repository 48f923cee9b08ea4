"""Publishes the messages of stored jobs from a background thread.

Celery is imported with the first message, because a service whose callers send no jobs should not load it.
"""

import logging
from collections.abc import Sequence
from threading import Lock, Thread
from typing import TYPE_CHECKING

from ml_microservice.errors import ServiceError
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import ChunkRef, NewJob
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.jobs.submission.batch_queue import BatchQueue
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.queue.job_queue import JobQueue

logger = logging.getLogger(__name__)
MAX_CHUNKS = 2_000
"""A batch with so many chunks is full."""
PAUSE_SECONDS = 0.025
"""Shortest time between two batches, so that the jobs of a burst share messages. To a worker, a message costs as much
as a small job."""
CLOSE_SECONDS = 10.0
"""Time for the last messages when the process ends. The sweeper sends the rest."""


class JobPublisher:
    """Sends the messages of jobs, several small jobs in one message.

    Args:
        store: the store of jobs.
        settings: the project's.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._batches: BatchQueue[Sequence[NewJob]] = BatchQueue(
            _count_chunks, max_chunks=MAX_CHUNKS, pause_seconds=PAUSE_SECONDS
        )
        self._lock = Lock()
        self._thread: Thread | None = None
        self._queue: JobQueue | None = None
        self._is_broker_down = False

    def publish(self, jobs: Sequence[NewJob]) -> None:
        """Have the messages of stored jobs sent soon."""
        if not jobs:
            return
        self._batches.put(jobs)
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="jobs-publisher", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Send the remaining messages and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._batches.close()
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while batch := self._batches.take():
            try:
                self._send([job for jobs in batch for job in jobs])
            except Exception:
                logger.exception("cannot publish jobs; the sweeper of a worker will")
        if self._queue is not None:
            self._queue.close()

    def _send(self, jobs: Sequence[NewJob]) -> None:
        small = [(job.job_id, 0) for job in jobs if len(job.chunks) == 1]
        bulk = [(job.job_id, chunk.number) for job in jobs if len(job.chunks) > 1 for chunk in job.chunks]
        traces = {job.job_id: job.trace for job in jobs if job.trace is not None}
        try:
            from ml_microservice.jobs.queue.job_queue import JobQueue, shared_messages

            if self._queue is None:
                self._queue = JobQueue(self._settings)
            self._queue.publish(shared_messages(small), bulk, traces)
        except ServiceError as error:
            self._log(str(error))
            self._mark_unpublished([*small, *bulk])
        else:
            self._log(None)

    def _mark_unpublished(self, refs: Sequence[ChunkRef]) -> None:
        try:
            self._store.call(lambda store: store.unpublished(refs))
        except Problem:
            logger.warning("neither the broker nor the database answers: workers will get these jobs minutes later")

    def _log(self, failure: str | None) -> None:
        """Log when the broker goes down and when it is back, once each."""
        if failure is not None and not self._is_broker_down:
            logger.warning("jobs are stored, and the sweeper of a worker will send their messages: %s", failure)
        elif failure is None and self._is_broker_down:
            logger.info("the jobs broker accepts messages again")
        self._is_broker_down = failure is not None


def _count_chunks(jobs: Sequence[NewJob]) -> int:
    return sum(len(job.chunks) for job in jobs)
