"""Input checks: a compiled model refuses every matrix that scikit-learn's validation refuses."""

from math import isfinite

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def is_finite(matrix: NDArray[np.floating]) -> bool:
    """Whether the sum is finite: if so, every element is; if not, the sum may have overflowed."""
    return isfinite(np.add.reduce(matrix, axis=None))


def refuse_infinite(matrix: NDArray[np.floating]) -> None:
    """Refuse what `check_array(ensure_all_finite="allow-nan")` refuses.

    Raises:
        ValueError: an element is infinite.
    """
    if not is_finite(matrix) and np.isinf(matrix).any():
        raise ValueError("Input contains infinity or a value too large")


def refuse_non_finite(matrix: NDArray[np.floating]) -> None:
    """Refuse what `check_array(ensure_all_finite=True)` refuses.

    Raises:
        ValueError: an element is NaN or infinite.
    """
    if not is_finite(matrix) and not np.isfinite(matrix).all():
        raise ValueError("Input contains NaN, infinity or a value too large")


def as_float32(matrix: Matrix, *, allow_nan: bool) -> NDArray[np.float32]:
    """The matrix in float32, as scikit-learn's trees read it, shape (rows, k).

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
