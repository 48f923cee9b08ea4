"""The progress of jobs for callers who wait: one query at a time asks the database about all of their jobs."""

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
MAX_QUERY_SHARE = 1 / 5
"""The largest share of the polling thread's time that queries may take."""
RETRY_SECONDS = 1.0
"""Pause after a query that failed."""
MAX_SUBSCRIPTIONS = 1_000
"""Most callers that may wait in one process. Each costs an open connection and little else."""


class Subscription:
    """A caller's view of a job."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        """The job as it was last seen; None before the first query."""
        self.is_over = False
        """Whether no update will follow: the job was deleted, or the process stops."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next update, at most for some seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def update(self, job: Job | None, *, is_over: bool = False) -> None:
        """Set the state of the job. Any thread may call this."""
        if job == self.job and not is_over:
            return
        self.job, self.is_over = job or self.job, is_over
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # the event loop is closed: nobody waits any more
            self.is_over = True


class ProgressWatcher:
    """Polls the database for all jobs that callers of this process wait for.

    Args:
        store: the store of jobs.
    """

    def __init__(self, store: LazyJobStore) -> None:
        self._store = store
        self._subscriptions: set[Subscription] = set()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._stopping = Event()

    @property
    def is_full(self) -> bool:
        """Whether no further caller may wait."""
        return len(self._subscriptions) >= MAX_SUBSCRIPTIONS

    @contextmanager
    def subscription(self, job_id: str) -> Iterator[Subscription]:
        """Subscribe to a job for the duration of the block."""
        subscription = Subscription(job_id)
        with self._changed:
            if self._stopping.is_set():
                subscription.is_over = True
            else:
                self._subscriptions.add(subscription)
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="jobs-progress", daemon=True)
                    self._thread.start()
            self._changed.notify()
        try:
            yield subscription
        finally:
            with self._changed:
                self._subscriptions.discard(subscription)

    async def finished(self, job_id: str, seconds: float) -> Job | None:
        """Wait for a job to finish.

        Returns:
            The finished job; None if the time has passed or the process stops.
        """
        deadline = monotonic() + seconds
        with self.subscription(job_id) as subscription:
            while not subscription.is_over and (left := deadline - monotonic()) > 0:
                await subscription.wait(left)
                if subscription.job is not None and subscription.job.is_finished:
                    return subscription.job
        return None

    def stop(self) -> None:
        """End all subscriptions."""
        with self._changed:
            self._stopping.set()
            waiting = list(self._subscriptions)
            self._changed.notify()
        for subscription in waiting:
            subscription.update(None, is_over=True)

    def close(self) -> None:
        """End all subscriptions and the polling thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._subscriptions and not self._stopping.is_set():
                    self._changed.wait()
                if self._stopping.is_set():
                    return
                waiting = list(self._subscriptions)
            started = monotonic()
            pause = POLL_SECONDS
            try:
                self._poll(waiting)
            except Problem:
                pause = RETRY_SECONDS
            except Exception:
                logger.exception("cannot read the progress of jobs")
                pause = RETRY_SECONDS
            self._stopping.wait(max(pause, (1 / MAX_QUERY_SHARE - 1) * (monotonic() - started)))

    def _poll(self, waiting: list[Subscription]) -> None:
        ids = {subscription.job_id for subscription in waiting}
        jobs = self._store.call(lambda store: store.progress(ids))
        for subscription in waiting:
            job = jobs.get(subscription.job_id)
            subscription.update(job, is_over=job is None)
