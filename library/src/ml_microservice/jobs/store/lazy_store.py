"""The way of a service to its jobs: opened at the first use, so that a service without jobs loads and connects nothing.

What is asked of the database is asked in threads: its driver waits.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread

from ml_microservice.errors import ServiceError
from ml_microservice.inference.problems import Problem
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore

logger = logging.getLogger(__name__)
AT_ONCE = 4
"""Questions that are asked at a time by one process: as many connections does it have."""
Answer = TypeVar("Answer")


class LazyJobStore:
    """Asks the store of jobs; usable from all threads.

    Args:
        settings: of the project.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._store: JobStore | None = None
        self._limiter: CapacityLimiter | None = None

    async def call_async(self, ask: "Callable[[JobStore], Answer]") -> Answer:
        """As `ask`, without standing in the event loop's way.

        Raises:
            Problem: the database does not answer.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(AT_ONCE)
        return await to_thread.run_sync(self.call, ask, limiter=self._limiter)

    def call(self, ask: "Callable[[JobStore], Answer]") -> Answer:
        """What the store says.

        Raises:
            Problem: the database does not answer.
        """
        try:
            return ask(self._opened())
        except ServiceError as error:
            logger.error("the database of jobs failed: %s", error)
            raise database_away() from None

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _opened(self) -> "JobStore":
        with self._lock:
            if self._store is None:
                from ml_microservice.jobs.store.job_store import open_job_store

                self._store = open_job_store(self._settings)
            return self._store


def database_away() -> Problem:
    """Jobs cannot be asked for or taken, since their database does not answer."""
    detail = "The database of jobs does not answer; the service's log says why. Try again: nothing is lost."
    return Problem(503, "jobs-unavailable", "Jobs are not available", detail, headers={"retry-after": "5"})
