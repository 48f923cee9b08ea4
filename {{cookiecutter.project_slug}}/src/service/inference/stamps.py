"""Ids and times of answers, as cheap as they can be made: both stand in every single one."""

import os
from datetime import UTC, datetime
from time import time

POOL = 256


class Stamps:
    """UUIDs of version 4 from a pool of the system's randomness, and times rendered once a millisecond.

    A pool belongs to one process: make it after forking.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._millisecond = -1
        self._time = ""

    def new_id(self) -> str:
        """A random UUID, version 4."""
        try:
            return self._ids.pop()
        except IndexError:
            self._ids = _uuids(POOL)
            return self._ids.pop()

    def now(self) -> str:
        """The time in UTC as ISO 8601, to the millisecond."""
        millisecond = int(time() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            moment = datetime.fromtimestamp(millisecond / 1000, UTC)
            self._time = moment.isoformat(timespec="milliseconds")
        return self._time


def _uuids(count: int) -> list[str]:
    """RFC 9562, version 4: 122 random bits, the version in the 13th digit and the variant in the 17th."""
    digits = os.urandom(16 * count).hex()
    starts = range(0, 32 * count, 32)
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}-"
        f"{VARIANT[digits[i + 16]]}{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in starts
    ]


VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
