"""The store of jobs as a serving process uses it: opened at the first call, and called from worker threads.

The store's modules are imported at that first call, because a service whose callers send no jobs should not load
SQLAlchemy. Calls run in threads because the database drivers block.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread

from ml_microservice.errors import ServiceError
from ml_microservice.jobs.problems import jobs_unavailable
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore

logger = logging.getLogger(__name__)
MAX_CALLS = 4
"""Most calls that one process makes at a time. It has as many connections."""
Answer = TypeVar("Answer")


class LazyJobStore:
    """Opens the store of jobs at the first call. Threads may share it.

    Args:
        settings: the project's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._store: JobStore | None = None
        self._limiter: CapacityLimiter | None = None

    async def call_async(self, query: "Callable[[JobStore], Answer]") -> Answer:
        """Call the store in a thread.

        Raises:
            Problem: the database does not answer.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(MAX_CALLS)
        return await to_thread.run_sync(self.call, query, limiter=self._limiter)

    def call(self, query: "Callable[[JobStore], Answer]") -> Answer:
        """Call the store.

        Raises:
            Problem: the database does not answer.
        """
        try:
            return query(self._opened())
        except ServiceError as error:
            logger.error("the jobs database failed: %s", error)
            detail = "The jobs database does not answer; see the service's log. Try again: nothing is lost."
            raise jobs_unavailable(detail, retry_seconds=5) from None

    def close(self) -> None:
        """Close the store's connections."""
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
