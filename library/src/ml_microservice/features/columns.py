"""Columns: how validated rows reach a predictor, without an object for every row.

A column is a list or an array, one entry for each row:

    list                  the values as a request carries them; None is missing
    float64               numbers; NaN is missing
    int64, bool           whole numbers, truth values; none is missing
    datetime64[us]        moments in UTC; NaT is missing
    object                what a list would have
    float64, (n, length)  vectors; none is missing

Requests of rows come as lists, tables (Arrow, Parquet, tensors) as arrays wherever one of these holds all values.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = Sequence[Any] | NDArray[Any]
Columns = Mapping[str, Column]
"""A `Column` for each feature, by name; all of one length."""


def as_list(column: Column) -> list[Any]:
    """The values as Python objects, None where one is missing; datetimes are in UTC and without their zone."""
    if not isinstance(column, np.ndarray) or column.ndim > 1:
        return list(column)
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        return [None if value != value else value for value in values]
    return values


def without(columns: Columns, rows: Collection[int]) -> Columns:
    """The columns without some rows, given by position."""
    count = len(next(iter(columns.values())))
    kept = [row for row in range(count) if row not in rows]
    return {
        name: column[kept] if isinstance(column, np.ndarray) else [column[row] for row in kept]
        for name, column in columns.items()
    }


def json_list(column: Column) -> list[Any]:
    """The values of a column of no datetimes as JSON has them, None where one is missing."""
    if isinstance(column, np.ndarray) and column.ndim > 1:
        rows: list[Any] = column.tolist()
        return rows
    return as_list(column)


def outside(values: NDArray[Any], low: Any, high: Any) -> NDArray[np.bool_]:
    """Which numbers lie beyond bounds, of which either may be None; NaN does not."""
    beyond = np.zeros(values.shape, dtype=bool)
    if low is not None:
        beyond |= values < low
    if high is not None:
        beyond |= values > high
    return beyond
