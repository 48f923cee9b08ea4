"""Waiting for what other processes and threads do."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], seconds: float) -> None:
    """Wait until something is so, at most for so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.02)
