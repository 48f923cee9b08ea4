"""The meaning of values in an Arrow table: the JSON value that a caller would have sent.

null, and NaN in a column of numbers   left out, so that a default stands in for it
any number                             that number; a whole one, 5.0 too, for features of whole numbers, since
                                       pandas keeps whole numbers with gaps as floats
timestamp, date                        ISO 8601 text in UTC, to the microsecond, of the years 1 to 9999
text, boolean, list                    the same; a dictionary-encoded column is what it encodes
binary, duration, time, struct, map    an object, which no feature takes
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from ml_microservice.features.spec import Feature

EPOCH = datetime(1970, 1, 1)
TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = (moment.replace(tzinfo=None) for moment in (datetime.min, datetime.max))


def plain(column: Any) -> Any:
    """A column as one array of a plain type: no dictionary, no view, no decimal, moments as microseconds in UTC."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if types.is_dictionary(kind):
        return plain(array.dictionary).take(array.indices)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return array.cast(pa.string())
    if types.is_decimal(kind) or types.is_float16(kind):
        return array.cast(pa.float64())
    if types.is_timestamp(kind) or types.is_date(kind):
        return pa.array(_microseconds(array), pa.timestamp("us", "UTC"), mask=missing(array))
    # What no feature takes need not be carried along, and Arrow cannot compute with all of it.
    return array if _is_json(kind) else pa.array([None if gone else {} for gone in missing(array)], pa.struct([]))


def missing(array: Any) -> NDArray[np.bool_]:
    """Which values are missing."""
    found: NDArray[np.bool_] = pc.is_null(array, nan_is_null=True).to_numpy(zero_copy_only=False)
    return found


def json_values(array: Any, feature: Feature | None) -> list[Any]:
    """The values of a plain array as JSON; None where one is missing.

    Args:
        array: of a plain type.
        feature: what they are values of; None if they are of none.
    """
    if types.is_timestamp(array.type):
        return [_text(value) for value in array.cast(pa.int64()).to_pylist()]
    if not _is_json(array.type):
        return [None if gone else {} for gone in missing(array)]
    values = array.to_pylist()
    if types.is_floating(array.type):
        whole = feature is None or feature.type in ("int", "category")
        return [None if value is None or value != value else _whole(value) if whole else value for value in values]
    return list(values)


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _text(microseconds: int | None) -> str | None:
    return None if microseconds is None else (EPOCH + microseconds * MICROSECOND).isoformat() + "+00:00"


def _microseconds(array: Any) -> NDArray[np.int64]:
    """Moments since 1970, those beyond what datetime knows as the first and the last that it does."""
    days = types.is_date32(array.type)
    unit = "ms" if types.is_date64(array.type) else "s" if days else array.type.unit
    integers = array.cast(pa.int32()).cast(pa.int64()) if days else array.cast(pa.int64())
    values: NDArray[np.int64] = integers.fill_null(0).to_numpy(zero_copy_only=False) * (86_400 if days else 1)
    first, last = ((moment - EPOCH) // MICROSECOND for moment in (FIRST, LAST))
    if unit == "ns":
        return values // 1_000
    scale = TICKS["us"] // TICKS[unit]
    within = np.clip(values, first // scale, last // scale)
    return np.clip(within * scale, first, last)


def _is_json(kind: Any) -> bool:
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_json(kind.value_type) and not types.is_temporal(kind.value_type)
    known = (types.is_boolean, types.is_integer, types.is_floating, types.is_string)
    return types.is_null(kind) or any(is_kind(kind) for is_kind in known)
