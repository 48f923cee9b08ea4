"""Values of rows, be they of the training frame or of records, in the forms in which they are compared."""

import re
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LARGEST = 1e150
"""Beyond it squares are infinite, and one such value in a window would leave nothing to be said of the others."""
WORD = re.compile(r"[^\W\d_]{2,}")
"""Letters of any script, two or more; numbers are no words, and may well be somebody's."""


def present(column: Sequence[Any]) -> list[Any]:
    """The values that are not missing: neither None nor NaN."""
    return [value for value in column if not is_missing(value)]


def is_missing(value: Any) -> bool:
    """Whether a value is None or a NaN."""
    return value is None or (isinstance(value, float) and value != value)


def numbers(values: Sequence[Any]) -> Floats:
    """Numbers, without those that are infinite, and none beyond `LARGEST`."""
    array = np.asarray(values, dtype=np.float64)
    return np.clip(array[np.isfinite(array)], -LARGEST, LARGEST)


def moments(values: Sequence[Any]) -> Floats:
    """Moments, or their ISO 8601 text, as seconds since 1970; what has no zone is taken as UTC."""
    return np.asarray([_seconds(value) for value in values], dtype=np.float64)


def categories(values: Sequence[Any]) -> list[str]:
    """Names; whole numbers and booleans as a request would write them."""
    return [_name(value) for value in values]


def vectors(values: Sequence[Any]) -> Floats:
    """The matrix of the vectors, one in each row; no element is beyond `LARGEST`."""
    matrix: Floats = np.asarray([np.asarray(value, dtype=np.float64) for value in values])
    return matrix.clip(-LARGEST, LARGEST)


def lengths(matrix: Floats) -> Floats:
    """The Euclidean length of each row."""
    norms: Floats = np.linalg.norm(matrix, axis=1)
    return norms


def words_of(text: str) -> set[str]:
    """The different words of a text, in lower case."""
    return set(WORD.findall(text.lower()))


def known_words(words: set[str], vocabulary: Container[str]) -> float:
    """The share of some words, of which there is at least one, that are in a vocabulary."""
    return sum(word in vocabulary for word in words) / len(words)


def _seconds(value: Any) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return float((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _name(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    # Whole numbers are floats in a column that has missing values too.
    return str(int(value))
