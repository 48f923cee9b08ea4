"""Durations as people write them: `90m`, `24h`, `7d`."""

import re
from datetime import timedelta

PERIOD = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=3660)
FORM = "a whole number and s, m, h, d or w, such as 24h or 7d"


def period(text: str) -> timedelta:
    """Parse a duration.

    Raises:
        ValueError: the text is not a duration, or is longer than ten years.
    """
    found = PERIOD.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:20]!r} is not {FORM}")
    length = timedelta(**{UNITS[found[2]]: int(found[1])})
    if length > LONGEST:
        raise ValueError(f"{text} is more than ten years")
    return length
