"""A pool of child processes in which a child that is killed while it is idle holds up no other.

billiard's pool gives tasks to its children through one pipe. The idle child that waits at the pipe holds its lock, a
semaphore: killed there, it takes the lock along, and no other child is given a task any more. A lock on a file is
released by the kernel when its process dies. This is for brokers without an event loop, as a folder is; for RabbitMQ,
Celery has a pipe for each child.
"""

import fcntl
import tempfile
from typing import Any

from billiard.pool import Pool
from celery.concurrency.prefork import TaskPool


class ProcessLock:
    """A lock between processes that are forked from this one; a process that dies releases it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the pool lives

    def acquire(self) -> bool:
        """Wait until no other process has it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let another process have it."""
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RobustPool(Pool):  # type: ignore[misc]
    def _setup_queues(self) -> None:
        super()._setup_queues()
        self._inqueue._rlock = ProcessLock()


class RobustTaskPool(TaskPool):  # type: ignore[misc]
    """Celery's pool `prefork`, with that lock."""

    BlockingPool: Any = _RobustPool
