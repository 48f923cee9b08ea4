"""A sync of the disk that any number of threads and event loops can wait for."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import suppress


class NotStored(Exception):
    """Records could not be stored. Any that are stored nevertheless belong to answers that no caller received.

    Args:
        reason: why, in words that may be shown to a caller.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"records cannot be stored: {reason}")


class DiskSync:
    """The next sync of the disk: await it, or `wait` for it in a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._failed: NotStored | None = None
        self._waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    def __await__(self) -> Generator[object, None, None]:
        """Wait on the event loop.

        Raises:
            NotStored: the disk failed.
        """
        future = self._new_waiter()
        if future is not None:
            yield from future
        self._check()

    def wait(self) -> None:
        """Wait in a thread.

        Raises:
            NotStored: the disk failed.
        """
        self._done.wait()
        self._check()

    def settle(self, failed: NotStored | None) -> None:
        """Release everybody who waits, with an error if the sync failed."""
        with self._lock:
            self._failed = failed
            self._done.set()
            waiting, self._waiting = self._waiting, {}
        for loop, futures in waiting.items():
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(_release, futures)

    def _new_waiter(self) -> "asyncio.Future[None] | None":
        """A new future for one waiter, so that cancelling it affects no other; None if the sync is done."""
        with self._lock:
            if self._done.is_set():
                return None
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._waiting.setdefault(loop, []).append(future)
            return future

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed


def _release(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
