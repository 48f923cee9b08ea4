"""Commands of this project that run beside a process, as its children.

They are processes, not threads: a thread would compete for the interpreter's lock, and a process forked meanwhile
would inherit the locks that the thread holds.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from time import monotonic

logger = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "ml_microservice.cli")
LOOK_SECONDS = 1.0
"""Interval at which a companion is checked."""
GRACE_SECONDS = 3
"""Time to exit, in addition to the time to finish its work."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
"""Wait before a restart: it begins short, and doubles each time the companion dies soon after its start."""


class Companion:
    """A command that runs as a child process and is restarted when it dies.

    It ends when this process does, even if this one is killed, because its stdin is then closed.

    Args:
        what: what it does, to complete the words "the process that" in the log.
        words: the arguments of `ml-service`.
        drain_seconds: time that it has to finish its work when it is stopped.
    """

    is_wanted = True
    """Whether it has anything to do; if not, it is never started."""

    def __init__(self, what: str, words: Sequence[str], drain_seconds: float) -> None:
        self._what = what
        self._command = (*COMMAND, *words)
        self._drain_seconds = drain_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._started = self._next_start = 0.0
        self._wait = FIRST_WAIT_SECONDS
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # A process that is forked from this one would keep the child's stdin open.
        os.register_at_fork(after_in_child=self._forget)

    def start(self) -> None:
        """Start it, and keep it running from a thread."""
        if self.is_wanted:
            self._thread = threading.Thread(target=self._keep, name=self._what, daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Start it if it is not running and its wait is over; to be called in turn, without a thread."""
        if not self.is_wanted:
            return
        now = monotonic()
        if self._child is not None and self._child.poll() is not None:
            self._bury(self._child, now)
        if self._child is None and now >= self._next_start:
            self._started, self._next_start = now, now + LONGEST_WAIT_SECONDS
            try:
                self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE)
            except OSError:
                logger.exception("the process that %s could not be started", self._what)

    def stop(self) -> None:
        """Let it finish its work, and kill it if that takes too long."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._child is None:
            return
        try:
            _close(self._child)
            self._child.wait(self._drain_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            logger.error("the process that %s did not end in time and is killed", self._what)
            self._child.kill()
            self._child.wait()
        self._child = None

    def _keep(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(LOOK_SECONDS)

    def _forget(self) -> None:
        if self._child is not None:
            _close(self._child)

    def _bury(self, child: "subprocess.Popen[bytes]", now: float) -> None:
        self._wait = FIRST_WAIT_SECONDS if now - self._started > LONGEST_WAIT_SECONDS else self._wait * 2
        self._wait = min(self._wait, LONGEST_WAIT_SECONDS)
        words = "the process that %s ended (%d); another one is started in %.0f s"
        logger.error(words, self._what, child.returncode, self._wait)
        _close(child)
        self._child, self._next_start = None, now + self._wait


def _close(child: "subprocess.Popen[bytes]") -> None:
    """Close a child's stdin, which tells it to end; unlike a signal, this works while it starts, too."""
    assert child.stdin is not None
    child.stdin.close()
