"""Watching jobs for those who wait: one question to the database for all of them together."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event, Thread
from time import monotonic

from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import Job
from ml_microservice.jobs.store.lazy_store import LazyJobStore

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.025
SHARE = 5
"""Of this thread's time, at most one part in so many goes to the database."""
AWAY_SECONDS = 1.0
"""Between two questions to a database that does not answer."""
MOST = 1_000
"""That may wait in one process: each is a connection that is open, and little else."""


class Subscription:
    """A job that somebody waits for."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        """As it was last seen; None before that."""
        self.is_over = False
        """Whether nothing more will be told: the job is gone, or the process ends."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    async def change(self, seconds: float | None = None) -> None:
        """Wait until something has changed since the last time, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def tell(self, job: Job | None, *, is_over: bool = False) -> None:
        """Say how the job is; from any thread."""
        if job == self.job and not is_over:
            return
        self.job, self.is_over = job or self.job, is_over
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # its loop is closed: nobody waits any more
            self.is_over = True


class ProgressWatcher:
    """All who wait in this process.

    Args:
        store: the store of jobs.
    """

    def __init__(self, store: LazyJobStore) -> None:
        self._store = store
        self._following: set[Subscription] = set()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._ending = Event()

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return len(self._following) >= MOST

    @contextmanager
    def following(self, job_id: str) -> Iterator[Subscription]:
        """Follow a job within the block."""
        following = Subscription(job_id)
        with self._changed:
            if self._ending.is_set():
                following.is_over = True
            else:
                self._following.add(following)
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="jobs-followers", daemon=True)
                    self._thread.start()
            self._changed.notify()
        try:
            yield following
        finally:
            with self._changed:
                self._following.discard(following)

    async def finished(self, job_id: str, seconds: float) -> Job | None:
        """Wait for a job to finish.

        Returns:
            The job; None if it is not finished after so long, or the process ends.
        """
        deadline = monotonic() + seconds
        with self.following(job_id) as following:
            while not following.is_over and (left := deadline - monotonic()) > 0:
                await following.change(left)
                if following.job is not None and following.job.is_finished:
                    return following.job
        return None

    def end(self) -> None:
        """Tell all who wait that they wait no longer."""
        with self._changed:
            self._ending.set()
            waiting = list(self._following)
            self._changed.notify()
        for following in waiting:
            following.tell(None, is_over=True)

    def close(self) -> None:
        """End, also the thread."""
        self.end()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._following and not self._ending.is_set():
                    self._changed.wait()
                if self._ending.is_set():
                    return
                waiting = list(self._following)
            started = monotonic()
            pause = POLL_SECONDS
            try:
                self._look(waiting)
            except Problem:
                pause = AWAY_SECONDS
            except Exception:
                logger.exception("jobs could not be followed")
                pause = AWAY_SECONDS
            self._ending.wait(max(pause, (SHARE - 1) * (monotonic() - started)))

    def _look(self, waiting: list[Subscription]) -> None:
        ids = {following.job_id for following in waiting}
        found = self._store.call(lambda store: store.progress(ids))
        for following in waiting:
            job = found.get(following.job_id)
            following.tell(job, is_over=job is None)
