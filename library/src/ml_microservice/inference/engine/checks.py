"""What scikit-learn's validation refuses, refused here too: no compiled model may answer where its object raises."""

from math import isfinite

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def is_finite(matrix: NDArray[np.floating]) -> bool:
    """Whether the sum is finite, which proves in one pass that every element is; False may still be an overflow."""
    return isfinite(np.add.reduce(matrix, axis=None))


def refuse_infinite(matrix: NDArray[np.floating]) -> None:
    """As `check_array(ensure_all_finite="allow-nan")`.

    Raises:
        ValueError: an element is infinite.
    """
    if not is_finite(matrix) and np.isinf(matrix).any():
        raise ValueError("Input contains infinity or a value too large")


def refuse_non_finite(matrix: NDArray[np.floating]) -> None:
    """As `check_array(ensure_all_finite=True)`.

    Raises:
        ValueError: an element is NaN or infinite.
    """
    if not is_finite(matrix) and not np.isfinite(matrix).all():
        raise ValueError("Input contains NaN, infinity or a value too large")


def as_float32(matrix: Matrix, *, allow_nan: bool) -> NDArray[np.float32]:
    """The matrix as scikit-learn's trees see it, shape (rows, k).

    Raises:
        ValueError: an element is infinite or beyond float32, or NaN where that is not allowed.
    """
    with np.errstate(over="ignore"):
        narrow = matrix.astype(np.float32)
    if allow_nan:
        refuse_infinite(narrow)
    else:
        refuse_non_finite(narrow)
    return narrow
