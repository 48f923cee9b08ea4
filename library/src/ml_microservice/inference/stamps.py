"""Ids and times of answers, made as cheaply as possible, since every answer has both."""

import os
from datetime import UTC, datetime
from time import time

import numpy as np
from numpy.typing import NDArray

POOL = 256


class Stamps:
    """UUIDs of version 4 from a pool of the system's randomness, and times rendered once a millisecond.

    The pool belongs to one process: create it after forking.
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

    def new_ids(self, count: int) -> list[str]:
        """Many random UUIDs, version 4."""
        return _uuids(count)

    def now(self) -> str:
        """The time in UTC as ISO 8601, to the millisecond."""
        millisecond = int(time() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            moment = datetime.fromtimestamp(millisecond / 1000, UTC)
            self._time = moment.isoformat(timespec="milliseconds")
        return self._time


def _uuids(count: int) -> list[str]:
    return as_uuids(np.frombuffer(os.urandom(16 * count), np.uint8).reshape(count, 16).copy(), 4)


def as_uuids(octets: NDArray[np.uint8], version: int) -> list[str]:
    """RFC 9562: 122 bits of the octets' own, the version in the 13th digit and the variant in the 17th.

    Args:
        octets: shape (count, 16); changed in place.
        version: 4 for random octets, 8 for custom ones.
    """
    octets[:, 6] = octets[:, 6] & 0x0F | version << 4
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    count = len(octets)
    text = np.full((count, LENGTH), ord("-"), np.uint8)
    text[:, PLACES[0::2]] = DIGITS[octets >> 4]
    text[:, PLACES[1::2]] = DIGITS[octets & 0x0F]
    joined = text.tobytes().decode("ascii")
    return [joined[start : start + LENGTH] for start in range(0, LENGTH * count, LENGTH)]


LENGTH = 36
DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
PLACES = [place for place in range(LENGTH) if place not in (8, 13, 18, 23)]
"""Positions of the digits; the others are hyphens."""
