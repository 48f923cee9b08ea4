"""Equality of two outputs of a hook, row by row, whatever their types."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.features.layout import is_missing
from ml_microservice.inference.predictor import Predictions

TOLERANCE = 1e-4
"""The largest relative difference that is rounding: single precision stays below it, a statistic of rows does not."""


@dataclass(frozen=True)
class Output:
    """The output of transform for some rows."""

    rows: NDArray[Any]
    """Shape (rows, columns)."""
    columns: tuple[str, ...] | None
    """The names of the columns if transform returns a frame."""


def output_of(transformed: Any) -> Output:
    """Convert what transform returned, such as a frame, a sparse matrix or a list, to a dense matrix."""
    columns = tuple(map(str, transformed.columns)) if isinstance(transformed, pd.DataFrame) else None
    if hasattr(transformed, "toarray"):
        transformed = transformed.toarray()
    if isinstance(transformed, pd.DataFrame | pd.Series):
        transformed = transformed.to_numpy()
    try:
        array = np.asarray(transformed)
    except ValueError:  # rows of different lengths
        array = np.empty(len(transformed), dtype=object)
        array[:] = list(transformed)
    return Output(array.reshape(len(array), math.prod(array.shape[1:])), columns)


def alike(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of two matrices of the same shape are equal up to rounding."""
    if left.dtype.kind in "biuf" and right.dtype.kind in "biuf":
        left, right = left.astype(np.float64), right.astype(np.float64)
        return np.asarray(_close(left, right).all(axis=1))
    pairs = zip(left.astype(object), right.astype(object), strict=True)
    return np.asarray([all(map(_same, one, other)) for one, other in pairs], dtype=bool)


def differing(left: Predictions, right: Predictions) -> list[int]:
    """Positions of the rows whose predictions differ."""
    if left.values and not isinstance(left.values[0], str):
        same = alike(np.asarray(left.values)[:, None], np.asarray(right.values)[:, None])
    else:
        same = np.asarray([one == other for one, other in zip(left.values, right.values, strict=True)], dtype=bool)
    if left.probabilities is not None and right.probabilities is not None:
        # Rounding decides between classes of equal probability.
        highest = np.sort(left.probabilities, axis=1)[:, -2:]
        same |= highest[:, -1] - highest[:, 0] <= TOLERANCE
        same &= (np.abs(left.probabilities - right.probabilities) <= TOLERANCE).all(axis=1)
    return np.flatnonzero(~same).tolist()


def _close(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    same = np.isclose(left, right, rtol=TOLERANCE, atol=0, equal_nan=True)
    # A result near 0 may be a difference of large numbers, whose rounding is relative to the column's largest value.
    size = np.where(np.isfinite(left), np.abs(left), 0.0).max(axis=0, initial=0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(same | (np.abs(left - right) <= TOLERANCE * 1e-2 * size))


def _same(left: Any, right: Any) -> bool:
    if np.ndim(left) or np.ndim(right):
        return np.shape(left) == np.shape(right) and all(map(_same, np.ravel(left), np.ravel(right)))
    if is_missing(left) or is_missing(right):
        return is_missing(left) and is_missing(right)
    if isinstance(left, Real) and isinstance(right, Real):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=1e-9)
    return bool(left == right)
