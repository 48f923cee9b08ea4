"""Telling the workers of jobs that were stored: by messages, as long as the broker is there."""

import logging
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ml_microservice.errors import ServiceError
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import ChunkRef, NewJob
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.queue.job_queue import JobQueue

logger = logging.getLogger(__name__)
MESSAGE_CHUNKS = 64
"""Most chunks of small jobs in one message: they share one call of the model."""
MOST_CHUNKS = 2_000
"""That are announced at once."""
GATHER_SECONDS = 0.025
"""Between two sendings. Whoever comes after a pause is sent at once; of many, more share a message, which costs a
worker as much as the jobs in it."""
CLOSE_SECONDS = 10.0
"""That the last messages may take when the process ends; the sweeper sends what is left."""


class JobPublisher:
    """Sends messages from a thread, those that came together in few.

    Args:
        store: the store of jobs.
        settings: of the project.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._waiting: SimpleQueue[Sequence[NewJob] | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._queue: JobQueue | None = None
        self._is_away = False

    def announce(self, jobs: Sequence[NewJob]) -> None:
        """Send messages for jobs that are stored, soon."""
        if not jobs:
            return
        self._waiting.put(jobs)
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="jobs-announcer", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Send what is to be sent, and end."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        is_open, sent_at = True, float("-inf")
        while is_open and (first := self._waiting.get()) is not None:
            jobs, chunks = [*first], _chunks(first)
            sleep(max(0.0, sent_at + GATHER_SECONDS - monotonic()))
            while chunks < MOST_CHUNKS:
                try:
                    more = self._waiting.get_nowait()
                except Empty:
                    break
                if more is None:
                    is_open = False
                    break
                jobs += more
                chunks += _chunks(more)
            sent_at = monotonic()
            try:
                self._send(jobs)
            except Exception:
                logger.exception("jobs could not be announced; a worker will see them")
        if self._queue is not None:
            self._queue.close()

    def _send(self, jobs: Sequence[NewJob]) -> None:
        small = [(job.job_id, 0) for job in jobs if len(job.chunks) == 1]
        bulk = [(job.job_id, chunk.number) for job in jobs if len(job.chunks) > 1 for chunk in job.chunks]
        try:
            if self._queue is None:
                from ml_microservice.jobs.queue.job_queue import JobQueue

                self._queue = JobQueue(self._settings)
            messages = [small[start : start + MESSAGE_CHUNKS] for start in range(0, len(small), MESSAGE_CHUNKS)]
            self._queue.publish(messages, bulk, {job.job_id: job.trace for job in jobs if job.trace is not None})
        except ServiceError as error:
            self._log(str(error))
            self._take_back([*small, *bulk])
        else:
            self._log(None)

    def _take_back(self, refs: Sequence[ChunkRef]) -> None:
        try:
            self._store.call(lambda store: store.unpublished(refs))
        except Problem:
            logger.warning("neither the broker nor the database answers: a worker will see the jobs some minutes later")

    def _log(self, failure: str | None) -> None:
        """Say once that the broker is away, and once that it is back."""
        if failure is not None and not self._is_away:
            logger.warning("jobs are stored, and their messages will be sent by a worker: %s", failure)
        elif failure is None and self._is_away:
            logger.info("the broker of jobs takes messages again")
        self._is_away = failure is not None


def _chunks(jobs: Sequence[NewJob]) -> int:
    return sum(len(job.chunks) for job in jobs)
