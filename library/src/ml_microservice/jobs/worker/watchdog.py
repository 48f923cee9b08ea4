"""The watchdog of a child process: renews leases, and enforces cancellation, time limits and the worker's shutdown.

It is a thread beside the work. It sets a flag that the work checks between two slices. If the work does not stop, the
watchdog ends the process, so that even a call that hangs can be cancelled.
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
CHECK_SECONDS = 0.25
RENEW_SECONDS = 1.0
"""Time between two renewals of leases. A cancelled chunk may run so much longer."""
STOP_SECONDS = 2.0
"""Time for the work to stop when asked to. Then the process is ended."""
EXIT_CODE = 1


class Reason(Enum):
    """Why a run is stopped."""

    UNWANTED = "is cancelled, or another worker has claimed it"
    LATE = "exceeds its time limit"
    SHUTDOWN = "is left to another worker, because this one stops"


class Stopped(Exception):
    """Raised to end a run without a result."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Shutdown:
    """When the worker stops. All its processes share this, because it is made before they are forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def set_deadline(self, deadline: float) -> None:
        """Stop all work at a time of the monotonic clock, which all processes share."""
        struct.pack_into("d", self._memory, 0, deadline)

    @property
    def deadline(self) -> float | None:
        """When running work must stop; None while the worker is not shutting down."""
        deadline: float = struct.unpack_from("d", self._memory, 0)[0]
        return deadline or None

    @property
    def is_requested(self) -> bool:
        """Whether the worker is shutting down, so that nothing new may start."""
        return self.deadline is not None

    @property
    def is_due(self) -> bool:
        """Whether running work must stop now."""
        deadline = self.deadline
        return deadline is not None and monotonic() >= deadline

    def fail(self) -> None:
        """Note that a child process cannot start."""
        self._memory[8] = 1

    @property
    def is_failed(self) -> bool:
        """Whether a child process could not start."""
        return self._memory[8] == 1


class WatchedChunks:
    """The claimed chunks of a message. They run one after the other, or some of them together.

    Args:
        chunks: the chunks.
        timeout_seconds: time limit of each run.
    """

    def __init__(self, chunks: Sequence[ClaimedChunk], timeout_seconds: float) -> None:
        self.held = list(chunks)
        """Chunks whose leases are renewed."""
        self.running: Sequence[ClaimedChunk] = ()
        self.lock = threading.Lock()
        """Held while a run starts or ends, and while the process is ended, so that no finished run is lost with it."""
        self.reason: Reason | None = None
        """Why the current run must stop; None if it may go on."""
        self.stopped_at = 0.0
        """When the current run was asked to stop."""
        self.deadline = self.renewed_at = monotonic()
        self._timeout = timeout_seconds

    @contextmanager
    def run(self, chunks: Sequence[ClaimedChunk]) -> Iterator[None]:
        """Run some of the chunks for the duration of the block."""
        with self.lock:
            self.running, self.deadline, self.reason = chunks, monotonic() + self._timeout, None
        try:
            yield
        finally:
            with self.lock:
                self.running = ()

    def done(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Renew the leases of some chunks no longer."""
        self.held = [chunk for chunk in self.held if chunk not in chunks]

    def check(self) -> None:
        """Check that the current run may go on.

        Raises:
            Stopped: it must stop.
        """
        if self.reason is not None:
            raise Stopped(self.reason)

    def stop(self, reason: Reason) -> None:
        """Ask the current run to stop."""
        self.stopped_at, self.reason = monotonic(), reason


class Watchdog:
    """Watches the chunks of one process. It starts a thread, so create it after the fork.

    Args:
        store: the store of jobs.
        timeout_seconds: time limit of each run.
        shutdown: the worker's shutdown.
    """

    def __init__(self, store: "JobStore", timeout_seconds: float, shutdown: Shutdown) -> None:
        self._store = store
        self._timeout = timeout_seconds
        self._shutdown = shutdown
        self._watched: WatchedChunks | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, chunks: Sequence[ClaimedChunk]) -> Iterator[WatchedChunks]:
        """Watch the chunks of a message for the duration of the block."""
        self._watched = watched = WatchedChunks(chunks, self._timeout)
        try:
            yield watched
        finally:
            self._watched = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._closed.wait(CHECK_SECONDS):
            watched = self._watched
            if watched is not None:
                try:
                    self._check(watched, monotonic())
                except DatabaseError as error:
                    logger.warning("cannot renew leases at the moment: %s", error)

    def _check(self, watched: WatchedChunks, now: float) -> None:
        running = watched.running
        if running and watched.reason is not None and now - watched.stopped_at >= STOP_SECONDS:
            self._end_process(watched, watched.reason)
        elif running and watched.reason is None and now >= watched.deadline:
            watched.stop(Reason.LATE)
        elif running and watched.reason is None and self._shutdown.is_due:
            watched.stop(Reason.SHUTDOWN)
        elif now - watched.renewed_at >= RENEW_SECONDS:
            # A run that was asked to stop still holds its chunks.
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
                logger.error(
                    "chunk %d of job %s %s, and does not stop: ending the process",
                    chunk.number,
                    chunk.job_id,
                    reason.value,
                )
            try:
                # The broker redelivers the message at once, and not every broker marks it as redelivered.
                others = [chunk for chunk in watched.held if chunk not in watched.running]
                if reason is Reason.LATE:
                    for chunk in watched.running:
                        self._store.retry_later(chunk)
                elif reason is Reason.SHUTDOWN:
                    others = watched.held
                self._store.release(others)
                self._store.unpublished([(chunk.job_id, chunk.number) for chunk in watched.held])
            except DatabaseError as error:
                logger.warning("the chunks stay claimed until their leases expire: %s", error)
            os._exit(EXIT_CODE)
