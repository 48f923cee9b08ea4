"""Taking jobs: those that are submitted at a time are stored in one transaction, by one thread.

A job is taken once its row is committed: that is the promise. The messages follow, from a thread of their own; where
the broker is away, the sweeper of the workers sends them later.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic

from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import Inserted, NewJob
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.jobs.submission.publisher import JobPublisher
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
GROUP_JOBS, GROUP_CHUNKS = 256, 2_000
"""Most that is stored in one transaction, so that nobody waits for it long."""
COUNT_SECONDS = 0.5
"""Between two counts of the chunks that wait."""


@dataclass(frozen=True)
class _Waiting:
    """A job that somebody wants to see stored; without one, whether there is room for it."""

    job: NewJob | None
    future: "asyncio.Future[Inserted | None]"


class JobInserter:
    """Where jobs are handed in; each process that serves has its own.

    Args:
        store: the store of jobs.
        settings: of the project.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._announcer = JobPublisher(store, settings)
        self._most = settings.jobs.max_queued
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._queued, self._counted_at = 0, float("-inf")

    async def insert(self, job: NewJob) -> Inserted:
        """Store a job.

        Returns:
            The job, or the one that has its idempotency key already.

        Raises:
            Problem: too many chunks wait, or the database does not answer; then it may have been stored nevertheless.
        """
        inserted = await self._hand_in(job)
        assert inserted is not None
        return inserted

    async def check_room(self) -> None:
        """See that there is room for a job before its body is read.

        Raises:
            Problem: too many chunks wait, or the database does not answer.
        """
        if monotonic() - self._counted_at >= COUNT_SECONDS:
            await self._hand_in(None)
        elif self._queued >= self._most:
            raise queue_full()

    def close(self) -> None:
        """Store what was handed in, and end."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()
        self._announcer.close()

    async def _hand_in(self, job: NewJob | None) -> Inserted | None:
        future: asyncio.Future[Inserted | None] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(job, future))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="jobs-desk", daemon=True)
                    self._thread.start()
        return await future

    def _run(self) -> None:
        is_open = True
        while is_open and (first := self._waiting.get()) is not None:
            group, chunks = [first], _chunks(first)
            while len(group) < GROUP_JOBS and chunks < GROUP_CHUNKS:
                try:
                    another = self._waiting.get_nowait()
                except Empty:
                    break
                if another is None:
                    is_open = False
                    break
                group.append(another)
                chunks += _chunks(another)
            self._serve(group)

    def _serve(self, group: Sequence[_Waiting]) -> None:
        try:
            taken, refused = self._with_room(group)
            _tell([(waiting.future, queue_full()) for waiting in refused])
            _tell([(waiting.future, None) for waiting in taken if waiting.job is None])
            wanted = [(waiting.future, waiting.job) for waiting in taken if waiting.job is not None]
            if wanted:
                inserted = self._insert_all([job for _, job in wanted])
        except Exception as error:
            if not isinstance(error, Problem):
                logger.exception("jobs could not be stored")
            _tell([(waiting.future, error) for waiting in group])
            return
        if wanted:
            _tell([(future, told) for (future, _), told in zip(wanted, inserted, strict=True)])
            new = [job for (_, job), told in zip(wanted, inserted, strict=True) if told.is_new]
            self._queued += sum(len(job.chunks) for job in new)
            self._announcer.announce(new)

    def _insert_all(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        try:
            return self._store.call(lambda store: store.insert(jobs))
        except Problem:
            # A connection that was lost fails once; what was committed nevertheless is found.
            return self._store.call(lambda store: store.insert(jobs))

    def _with_room(self, group: Sequence[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
        """Those that there is room for, and those that there is none for.

        A job that is larger than the room that is left is taken: there might never be more.
        """
        if monotonic() - self._counted_at >= COUNT_SECONDS:
            self._queued = self._store.call(lambda store: store.queued())
            self._counted_at = monotonic()
        queued = self._queued
        taken: list[_Waiting] = []
        refused: list[_Waiting] = []
        for waiting in group:
            (taken if queued < self._most else refused).append(waiting)
            queued += _chunks(waiting)
        return taken, refused


def queue_full() -> Problem:
    """More waits than the service takes on."""
    detail = "Too many jobs wait for the workers: try again later."
    return Problem(429, "queue-full", "The queue is full", detail, headers={"retry-after": "5"})


def _chunks(waiting: _Waiting) -> int:
    return len(waiting.job.chunks) if waiting.job is not None else 0


Told = tuple["asyncio.Future[Inserted | None]", Inserted | Exception | None]


def _tell(told: Sequence[Told]) -> None:
    """Let those who wait know, with one call for each event loop."""
    loops = {future.get_loop(): None for future, _ in told}
    for loop in loops:
        own = [one for one in told if one[0].get_loop() is loop]
        try:
            loop.call_soon_threadsafe(_resolve, own)
        except RuntimeError:  # it is closed: nobody waits any more
            continue


def _resolve(told: Sequence[Told]) -> None:
    for future, outcome in told:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
