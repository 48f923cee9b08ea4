"""Validation of whole Arrow columns, by the rules that the request model has for single values.

A value breaks a rule here exactly if its JSON form (see `arrow_values`) breaks it in a request; a hypothesis test
proves it. The result is only which values break a rule: the request model finds the words for their rows.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from ml_microservice.features.arrow_values import json_values, missing
from ml_microservice.features.columns import Column, outside
from ml_microservice.features.request import STRICT, request_type
from ml_microservice.features.spec import (
    EARLIEST,
    LATEST,
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXACT = 2**53
"""Whole numbers up to this are exact in float64."""


@dataclass(frozen=True)
class CheckedColumn:
    """A column of which every value has been looked at."""

    feature: Feature
    values: NDArray[Any]
    """The value of each row; arbitrary where it is missing or bad."""
    missing: NDArray[np.bool_]
    """Which rows have no value, and no default stands in."""
    bad: NDArray[np.bool_]
    """Which rows break a rule."""

    def column(self, rows: NDArray[np.bool_]) -> Column:
        """The values of some rows, none of them bad, as a predictor takes them."""
        values, gaps = self.values[rows], self.missing[rows]
        if not gaps.any():
            return values
        match values.dtype.kind:
            case "f" if values.ndim == 1:
                return np.where(gaps, np.nan, values)
            case "i" if not outside(values[~gaps], -EXACT, EXACT).any():
                return np.where(gaps, np.nan, values.astype(np.float64))
            case "M":
                return np.where(gaps, np.datetime64("NaT"), values)
        listed = list(values) if values.ndim > 1 else values.tolist()
        return [None if gone else value for gone, value in zip(gaps, listed, strict=True)]


def check_column(feature: Feature, array: Any) -> CheckedColumn:
    """Find the values of a plain array that break a rule of a feature."""
    if types.is_null(array.type):
        array = array.cast(natural_type(feature))
    gaps = missing(array)
    checked = _checked(feature, array, gaps)
    values, bad = checked if checked is not None else _checked_one_by_one(feature, array, gaps)
    if feature.required:
        return CheckedColumn(feature, values, gaps, bad | gaps)
    if feature.has_default:
        values = values.copy()
        for row in np.flatnonzero(gaps) if values.dtype == object else [gaps]:
            values[row] = _default(feature, values.dtype)
        gaps = np.zeros(len(gaps), dtype=bool)
    return CheckedColumn(feature, values, gaps, bad)


def absent_column(feature: Feature, rows: int) -> CheckedColumn:
    """The column of a feature that a table does not have."""
    return check_column(feature, pa.nulls(rows))


def _checked(feature: Feature, array: Any, gaps: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Values, and which of them break a rule; None for an array that has another type than the feature."""
    kind = array.type
    is_number = types.is_integer(kind) or types.is_floating(kind)
    match feature:
        case FloatFeature() if is_number:
            numbers = _floats(array)
            return numbers, ~gaps & (~np.isfinite(numbers) | outside(numbers, feature.min, feature.max))
        case IntFeature() if is_number:
            whole, fits = _whole(array)
            return whole, ~gaps & (~fits | outside(whole, feature.min, feature.max))
        case BoolFeature() if types.is_boolean(kind):
            return array.fill_null(False).to_numpy(zero_copy_only=False), np.zeros(len(array), dtype=bool)
        case CategoryFeature(values=known) if isinstance(known[0], int) and is_number:
            whole, fits = _whole(array)
            return whole, ~gaps & ~(fits & np.isin(whole, np.asarray(known, dtype=np.int64)))
        case CategoryFeature(values=known) if isinstance(known[0], str) and types.is_string(kind):
            found = pc.index_in(array, value_set=pa.array(known, pa.string())).fill_null(-1).to_numpy()
            return np.asarray([*known, None], dtype=object)[found], ~gaps & (found < 0)
        case StringFeature() if types.is_string(kind):
            too_long = pc.greater(pc.utf8_length(array), feature.max_length).fill_null(False)
            return array.to_numpy(zero_copy_only=False), too_long.to_numpy(zero_copy_only=False)
        case DatetimeFeature() if types.is_timestamp(kind):
            ticks = array.cast(pa.int64()).fill_null(0).to_numpy()
            return ticks.view("M8[us]"), ~gaps & outside(ticks, *_range(feature))
        case VectorFeature() if _is_list(kind) and (
            types.is_integer(kind.value_type) or types.is_floating(kind.value_type)
        ):
            return _vectors(feature, array, gaps)
    return None


def _floats(array: Any) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _whole(array: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The values as whole numbers of 64 bits, and which of them are such."""
    if types.is_floating(array.type):
        numbers = _floats(array)
        with np.errstate(invalid="ignore"):
            fits = (numbers == np.floor(numbers)) & (numbers >= -(2.0**63)) & (numbers < 2.0**63)
        return np.where(fits, numbers, 0).astype(np.int64), fits
    numbers = array.fill_null(0).to_numpy()
    return numbers.astype(np.int64), numbers <= np.iinfo(np.int64).max


def _range(feature: DatetimeFeature) -> tuple[int, int]:
    earliest = EARLIEST if feature.min is None else max(feature.min, EARLIEST)
    latest = LATEST if feature.max is None else min(feature.max, LATEST)
    return _ticks(earliest), _ticks(latest)


def _ticks(moment: datetime) -> int:
    """Microseconds since 1970."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _vectors(
    feature: VectorFeature, array: Any, gaps: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    right = pc.equal(pc.list_value_length(array), feature.length).fill_null(False).to_numpy(zero_copy_only=False)
    flat = _floats(array.filter(pa.array(right)).flatten())
    matrix = np.full((len(array), feature.length), np.nan)
    matrix[right] = flat.reshape(-1, feature.length)
    fine = np.isfinite(matrix) & ~outside(matrix, feature.min, feature.max)
    return matrix, ~gaps & ~fine.all(axis=1)


def _checked_one_by_one(
    feature: Feature, array: Any, gaps: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Check an array of any type by the request model's rule, in one call for all values."""
    value: Any = request_type(feature)
    rule: TypeAdapter[list[Any]] = TypeAdapter(list[value], config=STRICT)
    given = json_values(array, feature)
    bad = np.zeros(len(given), dtype=bool)
    values = np.empty(len(given), dtype=object)
    present = np.flatnonzero(~gaps)
    try:
        found = rule.validate_json(to_json([given[i] for i in present], inf_nan_mode="constants"))
    except ValidationError as error:
        broken = {int(item["loc"][0]) for item in error.errors(include_url=False, include_input=False)}
        bad[present[sorted(broken)]] = True
        present = np.flatnonzero(~gaps & ~bad)
        found = rule.validate_json(to_json([given[i] for i in present], inf_nan_mode="constants"))
    for position, value in zip(present, found, strict=True):
        values[position] = value
    return values, bad


def natural_type(feature: Feature) -> Any:
    """The type whose arrays are checked at once."""
    match feature:
        case FloatFeature():
            return pa.float64()
        case IntFeature():
            return pa.int64()
        case CategoryFeature(values=values):
            return pa.int64() if isinstance(values[0], int) else pa.string()
        case BoolFeature():
            return pa.bool_()
        case StringFeature():
            return pa.string()
        case DatetimeFeature():
            return pa.timestamp("us", "UTC")
        case VectorFeature():
            return pa.list_(pa.float64())


def _default(feature: Feature, dtype: Any) -> Any:
    if dtype.kind == "M" and isinstance(feature.default, datetime):
        return np.datetime64(_ticks(feature.default), "us")
    return list(feature.default) if isinstance(feature.default, tuple) else feature.default
