"""Commands of this project that run beside a process, as its children.

Not threads: they would hold the interpreter's lock, and what is forked meanwhile would inherit their locks.
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
"""Time between two looks whether it runs."""
GRACE_SECONDS = 3
"""Time to end, beyond what it may take to finish its work."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
"""Before it is started again; the longer, the more often it died soon after its start."""


class Companion:
    """A command as a child that is started again when it dies.

    It ends by itself when this process does, however that happens: its stdin then ends.

    Args:
        what: it is, in words.
        words: of the command.
        drain_seconds: time to finish its work when it is to end.
    """

    is_wanted = True
    """Whether there is anything to do for it."""

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
        """Keep it running, by a thread that looks after it."""
        if self.is_wanted:
            self._thread = threading.Thread(target=self._keep, name=self._what, daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Start it if it does not run and it is time to; for a process that looks after it itself, without threads."""
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
        """Have it finish its work, for a bounded time."""
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
    """End a child's stdin, which tells it to end: unlike a signal, also while it starts."""
    assert child.stdin is not None
    child.stdin.close()
