"""The watch over what a process of a worker is at work on: leases, cancellations, time limits and the worker's end.

A thread beside the work. It asks the work to stop, which looks for that between two pieces, and where it does not come
back, ends the process: so a call that hangs can be cancelled, whatever it hangs in.
"""

import logging
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.job import ClaimedChunk

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore

logger = logging.getLogger(__name__)
LOOK_SECONDS = 0.25
RENEW_SECONDS = 1.0
"""Between two looks into the database: for so long a cancelled chunk may go on."""
BACK_SECONDS = 2.0
"""Time to come back, once asked to stop, before the process is ended."""
FAILED = 1


class Reason(Enum):
    """Why work is stopped."""

    UNWANTED = "is no longer wanted: cancelled, or another worker has it"
    LATE = "exceeds its time"
    ENDING = "has to be left to another worker, since this one ends"


class Stopped(Exception):
    """Work that is to end without a result."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Shutdown:
    """When the worker ends, for all its processes: they share it from before they were forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def set(self, at: float) -> None:
        """End at this moment of the monotonic clock, which is the same in all processes."""
        struct.pack_into("d", self._memory, 0, at)

    @property
    def at(self) -> float | None:
        """When work in progress has to be left; None while the worker goes on."""
        moment: float = struct.unpack_from("d", self._memory, 0)[0]
        return moment or None

    def fail(self) -> None:
        """Say that no process of this worker could work."""
        self._memory[8] = 1

    @property
    def is_failed(self) -> bool:
        """Whether one has said so."""
        return self._memory[8] == 1


class WatchedChunks:
    """The chunks of a message, which are run one after the other, or some of them together.

    Args:
        chunks: that the worker holds.
        timeout_seconds: that those may take that are run together.
    """

    def __init__(self, chunks: Sequence[ClaimedChunk], timeout_seconds: float) -> None:
        self.held = list(chunks)
        """Whose leases are renewed."""
        self.running: Sequence[ClaimedChunk] = ()
        self.lock = threading.Lock()
        """Held while work comes and goes, and while a process is ended: not one that has just come back."""
        self.reason: Reason | None = None
        """Why what runs is to stop."""
        self.asked_at = 0.0
        """When it was asked to."""
        self.deadline = self.renewed_at = monotonic()
        self._timeout = timeout_seconds

    @contextmanager
    def run(self, chunks: Sequence[ClaimedChunk]) -> Iterator[None]:
        """Run some of the chunks within the block."""
        with self.lock:
            self.running, self.deadline, self.reason = chunks, monotonic() + self._timeout, None
        try:
            yield
        finally:
            with self.lock:
                self.running = ()

    def done(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Hold some of the chunks no longer."""
        self.held = [chunk for chunk in self.held if chunk not in chunks]

    def check(self) -> None:
        """See that what runs is to go on.

        Raises:
            Stopped: it is not.
        """
        if self.reason is not None:
            raise Stopped(self.reason)

    def stop(self, reason: Reason) -> None:
        """Ask what runs to end."""
        self.asked_at, self.reason = monotonic(), reason


class Watchdog:
    """Watches over the chunks of one process; make it after forking.

    Args:
        store: of the jobs.
        timeout_seconds: that chunks may take.
        ending: of the worker.
    """

    def __init__(self, store: "JobStore", timeout_seconds: float, ending: Shutdown) -> None:
        self._store = store
        self._timeout = timeout_seconds
        self._ending = ending
        self._watched: WatchedChunks | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, chunks: Sequence[ClaimedChunk]) -> Iterator[WatchedChunks]:
        """Watchdog over the chunks of a message within the block."""
        self._watched = watched = WatchedChunks(chunks, self._timeout)
        try:
            yield watched
        finally:
            self._watched = None

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        self._thread.join(BACK_SECONDS)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            watched = self._watched
            if watched is not None:
                try:
                    self._look(watched, monotonic())
                except DatabaseError as error:
                    logger.warning("leases cannot be renewed at the moment: %s", error)

    def _look(self, watched: WatchedChunks, now: float) -> None:
        running = watched.running
        if running and watched.reason is not None and now - watched.asked_at >= BACK_SECONDS:
            self._end_process(watched, watched.reason)
        elif running and watched.reason is None and now >= watched.deadline:
            watched.stop(Reason.LATE)
        elif running and watched.reason is None and self._ending.at is not None and now >= self._ending.at:
            watched.stop(Reason.ENDING)
        elif now - watched.renewed_at >= RENEW_SECONDS:
            # Also of what was asked to stop: it is still here.
            watched.renewed_at = now
            wanted = self._store.renew([chunk.claim for chunk in watched.held])
            is_wanted = not running or any(chunk.claim in wanted for chunk in running)
            if not is_wanted and running is watched.running and watched.reason is None:
                watched.stop(Reason.UNWANTED)

    def _end_process(self, watched: WatchedChunks, reason: Reason) -> None:
        with watched.lock:
            if not watched.running or watched.reason is not reason:
                return
            for chunk in watched.running:
                logger.error("chunk %d of job %s %s, and does not stop", chunk.number, chunk.job_id, reason.value)
            try:
                # The message comes again at once, and not from every broker as one that does.
                others = [chunk for chunk in watched.held if chunk not in watched.running]
                if reason is Reason.LATE:
                    for chunk in watched.running:
                        self._store.retry_later(chunk)
                elif reason is Reason.ENDING:
                    others = watched.held
                self._store.release(others)
                self._store.unpublished([(chunk.job_id, chunk.number) for chunk in watched.held])
            except DatabaseError as error:
                logger.warning("they are left until their leases have passed: %s", error)
            os._exit(FAILED)
