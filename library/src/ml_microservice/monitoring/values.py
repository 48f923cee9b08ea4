"""Converts values of training frames and of records to the forms in which they are compared."""

import re
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LARGEST = 1e150
"""Larger values are clipped, because their squares are infinite: one such value would spoil all measures."""
WORD = re.compile(r"[^\W\d_]{2,}")
"""Two or more letters of any script. Numbers are not words, and may identify a person."""


def present(column: Sequence[Any]) -> list[Any]:
    """The values that are not missing: neither None nor NaN."""
    return [value for value in column if not is_missing(value)]


def is_missing(value: Any) -> bool:
    """Whether a value is None or a NaN."""
    return value is None or (isinstance(value, float) and value != value)


def numbers(values: Sequence[Any]) -> Floats:
    """The finite numbers, clipped to `LARGEST`."""
    array = np.asarray(values, dtype=np.float64)
    return np.clip(array[np.isfinite(array)], -LARGEST, LARGEST)


def moments(values: Sequence[Any]) -> Floats:
    """Unix times of datetimes or of ISO 8601 texts. Without a time zone, UTC is assumed."""
    return np.asarray([_seconds(value) for value in values], dtype=np.float64)


def categories(values: Sequence[Any]) -> list[str]:
    """Categories as text; integers and booleans as a request writes them."""
    return [_name(value) for value in values]


def vectors(values: Sequence[Any]) -> Floats:
    """A matrix with a vector in each row, clipped to `LARGEST`."""
    matrix: Floats = np.asarray([np.asarray(value, dtype=np.float64) for value in values])
    return matrix.clip(-LARGEST, LARGEST)


def lengths(matrix: Floats) -> Floats:
    """The Euclidean length of each row."""
    norms: Floats = np.linalg.norm(matrix, axis=1)
    return norms


def words_of(text: str) -> set[str]:
    """The set of words of a text, in lower case."""
    return set(WORD.findall(text.lower()))


def known_words(words: set[str], vocabulary: Container[str]) -> float:
    """The share of words that are in a vocabulary; there is at least one word."""
    return sum(word in vocabulary for word in words) / len(words)


def _seconds(value: Any) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return float((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _name(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    # Integers are floats in a column that has missing values.
    return str(int(value))
