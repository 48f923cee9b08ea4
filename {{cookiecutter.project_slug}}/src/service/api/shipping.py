"""The shipping of records, as a child process of the service.

Not a thread: it would hold the interpreter's lock while it packs records, and requests would wait for it.
"""

import logging
import os
import subprocess
import sys
import threading
from time import monotonic

from service.settings import Settings

logger = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "service.cli", "records", "ship", "--child", "--drain-seconds")
LOOK_SECONDS = 1.0
"""Time between two looks whether it runs."""
DRAIN_SECONDS = 5
"""Time to ship what is left when the service ends; what is left then is shipped after the next start."""
GRACE_SECONDS = 3
"""Time to end, beyond that."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
"""Before it is started again; the longer, the more often it died soon after its start."""


class Shipping:
    """`service records ship` as a child that is started again when it dies.

    It ends by itself when this process does, however that happens: its stdin then ends.

    Args:
        settings: of the project, which say whether the service ships its records at all.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_wanted = bool(settings.records.sinks) and settings.records.shipping == "with_service"
        """Whether there is anything to do here."""
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
            self._thread = threading.Thread(target=self._keep, name="shipping", daemon=True)
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
                self._child = subprocess.Popen([*COMMAND, str(DRAIN_SECONDS)], stdin=subprocess.PIPE)
            except OSError:
                logger.exception("the process that ships records could not be started")

    def stop(self) -> None:
        """Have it ship what is left, for a bounded time; call it after the last record was written."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._child is None:
            return
        try:
            _close(self._child)
            self._child.wait(DRAIN_SECONDS + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            logger.error("the process that ships records did not end in time and is killed")
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
        logger.error(
            "the process that ships records ended (%d); another one is started in %.0f s", child.returncode, self._wait
        )
        _close(child)
        self._child, self._next_start = None, now + self._wait


def _close(child: "subprocess.Popen[bytes]") -> None:
    """End a child's stdin, which tells it to end: unlike a signal, also while it starts."""
    assert child.stdin is not None
    child.stdin.close()
