"""Stores submitted jobs. One thread stores all jobs that were submitted at the same time in one transaction.

A job is accepted once its row is committed. Its messages follow from another thread. If the broker is down, the sweeper
of a worker sends them later.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic

from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import Inserted, NewJob
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.jobs.submission.batch_queue import BatchQueue
from ml_microservice.jobs.submission.publisher import JobPublisher
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
MAX_JOBS, MAX_CHUNKS = 256, 2_000
"""Limits of one transaction, so that no caller waits for it long."""
COUNT_SECONDS = 0.5
"""Time between two counts of the queued chunks."""


@dataclass(frozen=True)
class _Request:
    """A request to store a job or, without a job, to check that the queue has room."""

    job: NewJob | None
    future: "asyncio.Future[Inserted | None]"

    @property
    def chunks(self) -> int:
        return len(self.job.chunks) if self.job is not None else 0


class JobInserter:
    """Stores jobs in groups. Each serving process has one.

    Args:
        store: the store of jobs.
        settings: the project's.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._publisher = JobPublisher(store, settings)
        self._max_queued = settings.jobs.max_queued
        self._requests: BatchQueue[_Request] = BatchQueue(
            lambda request: request.chunks, max_items=MAX_JOBS, max_chunks=MAX_CHUNKS
        )
        self._lock = Lock()
        self._thread: Thread | None = None
        self._queued, self._counted_at = 0, float("-inf")

    async def insert(self, job: NewJob) -> Inserted:
        """Store a job.

        Returns:
            The job, or the earlier one with the same idempotency key.

        Raises:
            Problem: the queue is full, or the database does not answer. In the latter case it may have stored the job.
        """
        inserted = await self._request(job)
        assert inserted is not None
        return inserted

    async def check_room(self) -> None:
        """Check that the queue has room, before the body of a job is read.

        Raises:
            Problem: the queue is full, or the database does not answer.
        """
        if monotonic() - self._counted_at >= COUNT_SECONDS:
            await self._request(None)
        elif self._queued >= self._max_queued:
            raise queue_full()

    def close(self) -> None:
        """Store the submitted jobs, publish their messages, and end the threads."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._requests.close()
            thread.join()
        self._publisher.close()

    async def _request(self, job: NewJob | None) -> Inserted | None:
        future: asyncio.Future[Inserted | None] = asyncio.get_running_loop().create_future()
        self._requests.put(_Request(job, future))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="jobs-inserter", daemon=True)
                    self._thread.start()
        return await future

    def _run(self) -> None:
        while group := self._requests.take():
            self._serve(group)

    def _serve(self, group: Sequence[_Request]) -> None:
        try:
            admitted, refused = self._admit(group)
            _resolve([(request.future, queue_full()) for request in refused])
            _resolve([(request.future, None) for request in admitted if request.job is None])
            wanted = [(request.future, request.job) for request in admitted if request.job is not None]
            if wanted:
                outcomes = self._insert_all([job for _, job in wanted])
        except Exception as error:
            if not isinstance(error, Problem):
                logger.exception("cannot store jobs")
            _resolve([(request.future, error) for request in group])
            return
        if wanted:
            _resolve([(future, outcome) for (future, _), outcome in zip(wanted, outcomes, strict=True)])
            new = [job for (_, job), outcome in zip(wanted, outcomes, strict=True) if outcome.is_new]
            self._queued += sum(len(job.chunks) for job in new)
            self._publisher.publish(new)

    def _insert_all(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        try:
            return self._store.call(lambda store: store.insert(jobs))
        except Problem:
            # A lost connection fails once. Inserting is idempotent, so jobs that were committed are found.
            return self._store.call(lambda store: store.insert(jobs))

    def _admit(self, group: Sequence[_Request]) -> tuple[list[_Request], list[_Request]]:
        """Split requests into those that the queue has room for and those that it has not.

        A job that is larger than the room left is admitted: there might never be more room.
        """
        if monotonic() - self._counted_at >= COUNT_SECONDS:
            self._queued = self._store.call(lambda store: store.queued())
            self._counted_at = monotonic()
        queued = self._queued
        admitted: list[_Request] = []
        refused: list[_Request] = []
        for request in group:
            (admitted if queued < self._max_queued else refused).append(request)
            queued += request.chunks
        return admitted, refused


def queue_full() -> Problem:
    """The problem for a queue that takes no further job."""
    detail = "Too many jobs wait for the workers: try again later."
    return Problem(429, "queue-full", "The queue is full", detail, headers={"retry-after": "5"})


Resolution = tuple["asyncio.Future[Inserted | None]", Inserted | Exception | None]


def _resolve(resolutions: Sequence[Resolution]) -> None:
    """Resolve futures from the inserter's thread, with one call for each event loop."""
    loops = {future.get_loop(): None for future, _ in resolutions}
    for loop in loops:
        own = [one for one in resolutions if one[0].get_loop() is loop]
        try:
            loop.call_soon_threadsafe(_resolve_in_loop, own)
        except RuntimeError:  # the event loop is closed: nobody waits any more
            continue


def _resolve_in_loop(resolutions: Sequence[Resolution]) -> None:
    for future, outcome in resolutions:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
