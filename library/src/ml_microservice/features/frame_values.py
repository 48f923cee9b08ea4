"""Tests and conversions of the values in a column of the training frame, for its rules and for the inference of types.

Every function takes a column without its missing values, of any dtype, and answers with the column's index.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from ml_microservice.features.spec import INT64, as_utc


def numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """The numbers as float64, NaN where a value is none; a boolean is none."""
    if types.is_numeric_dtype(column.dtype) and not (
        types.is_bool_dtype(column.dtype) or types.is_complex_dtype(column.dtype)
    ):
        return column.astype("float64")
    if _tells(column.dtype):
        return pd.Series(np.nan, index=column.index, dtype="float64")
    return pd.Series([_number(value) for value in column.astype(object)], index=column.index, dtype="float64")


def is_number(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are numbers, infinite ones among them."""
    return numbers(column).notna()


def is_infinite(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are infinite numbers."""
    return numbers(column).isin([np.inf, -np.inf])


def is_whole(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are whole numbers, of whatever type; infinite ones count as whole."""
    values = numbers(column)
    return values == values.round()


def is_integer(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are integers by their type, not only by their value."""
    whole = types.is_integer_dtype(column.dtype)
    return _by_dtype(column, whole, lambda value: isinstance(value, Integral) and not isinstance(value, bool))


def fits_int64(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are not numbers beyond 64 bits; exact where float64 is not."""
    if types.is_signed_integer_dtype(column.dtype):
        return pd.Series(True, index=column.index, dtype=bool)
    return each(column, lambda value: not _is_real(value) or -INT64 <= value < INT64)


def is_boolean(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are true or false, rather than numbers or words that mean so."""
    return _by_dtype(column, types.is_bool_dtype(column.dtype), lambda value: isinstance(value, bool | np.bool_))


def is_text(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are text."""
    return _by_dtype(column, isinstance(column.dtype, pd.StringDtype), lambda value: isinstance(value, str))


def is_moment(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Which values are dates with times, rather than text or plain dates."""
    dated = types.is_datetime64_any_dtype(column.dtype)
    return _by_dtype(column, dated, lambda value: isinstance(value, datetime))


def moments(column: "pd.Series[Any]") -> "pd.Series[pd.Timestamp]":
    """The dates with times in UTC, NaT where a value is none; without an offset they are taken as UTC."""
    if types.is_datetime64_any_dtype(column.dtype):
        return pd.to_datetime(column, utc=True)
    values = [as_utc(value) if isinstance(value, datetime) else pd.NaT for value in column.astype(object)]
    return pd.Series(values, index=column.index, dtype="datetime64[us, UTC]")


def vector(value: Any) -> npt.NDArray[Any] | None:
    """A value as a one-dimensional array of numbers, if it is one; NaN and infinity count as numbers here."""
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths within the list
        return None
    return array if array.ndim == 1 and array.dtype.kind in "iuf" else None


def each(column: "pd.Series[Any]", question: Callable[[Any], bool]) -> "pd.Series[bool]":
    """The answers to a question about each value."""
    return pd.Series([question(value) for value in column.astype(object)], index=column.index, dtype=bool)


def _by_dtype(column: "pd.Series[Any]", answer: bool, question: Callable[[Any], bool]) -> "pd.Series[bool]":
    """The dtype's answer for all values where it tells what they are, which is fast, or else each value's own."""
    if _tells(column.dtype):
        return pd.Series(answer, index=column.index, dtype=bool)
    return each(column, question)


def _tells(dtype: Any) -> bool:
    is_known = (types.is_numeric_dtype, types.is_bool_dtype, types.is_datetime64_any_dtype)
    return isinstance(dtype, pd.StringDtype) or any(known(dtype) for known in is_known)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool)


def _number(value: Any) -> float:
    if not _is_real(value):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
