"""Conversion of whole columns of text, as in a CSV file, to the types of their features.

A value means here exactly what `text_values.from_text` says; a test with generated text proves it. Values that are
written in some rarer way are called odd, and left to it.
"""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml_microservice.features.arrow_columns import EXACT, natural_type
from ml_microservice.features.spec import Feature
from ml_microservice.features.text_values import BOOLEANS, MISSING_WORDS

NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
WHOLE = r"^-?[0-9]{1,18}$"
MONTH, CLOCK = r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])-", r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?)?$"
MOMENT, EARLY = MONTH + r"[0-3][0-9]" + CLOCK, MONTH + r"(0[1-9]|1[0-9]|2[0-8])" + CLOCK
"""Written plainly; and on a day that every month has."""
MISSING = pa.array(sorted(MISSING_WORDS))


def from_texts(feature: Feature, texts: Any) -> tuple[Any, NDArray[np.bool_]]:
    """An array of text as an array of a feature's type.

    Args:
        feature: what the text means values of.
        texts: a string array without nulls.

    Returns:
        The values, null where one is missing or odd, and which are odd.
    """
    kept = np.zeros(len(texts), dtype=bool)
    if feature.type == "string":
        return _where(pc.not_equal(texts, ""), texts), kept
    gaps = pc.is_in(texts, value_set=MISSING)
    if feature.type == "category" and isinstance(feature.values[0], str):
        # Text that is no category breaks the rule in either way.
        known = pc.is_in(texts, value_set=pa.array(feature.values))
        return _where(pc.or_(pc.invert(gaps), known), texts), kept
    given = _where(pc.invert(gaps), texts)
    match feature.type:
        case "float":
            values = _numbers(given)
        case "int" | "category":
            values = _whole(given)
        case "bool":
            lower = pc.utf8_lower(pc.utf8_trim_whitespace(given))
            found = pc.index_in(lower, value_set=pa.array(list(BOOLEANS)))
            values = pc.take(pa.array(list(BOOLEANS.values())), found)
        case "datetime":
            values = _moments(given).cast(natural_type(feature))
        case "vector":
            values = pa.array([_list(text) for text in given.to_pylist()], pa.list_(pa.float64()))
    return values, _odd(given, values)


def _numbers(given: Any) -> Any:
    try:
        numbers = given.cast(pa.float64())
    except pa.ArrowInvalid:
        return _cast(given, pa.float64(), NUMBER)
    # What is spelled nan or infinity is not all the same.
    return numbers if pc.all(pc.is_finite(numbers)).as_py() is not False else _cast(given, pa.float64(), NUMBER)


def _whole(given: Any) -> Any:
    whole = _cast(given, pa.int64(), WHOLE)
    if whole.null_count == given.null_count:
        return whole
    # pandas writes whole numbers with gaps as 3.0; beyond 2**53 that would not be exact.
    numbers = _numbers(given)
    return _where(pc.less(pc.abs(numbers), float(EXACT)).fill_null(False), numbers)


def _moments(given: Any) -> Any:
    try:
        return _cast(given, pa.timestamp("us"), MOMENT)
    except pa.ArrowInvalid:  # a 30 February
        return _cast(given, pa.timestamp("us"), EARLY)


def _cast(given: Any, kind: Any, plain: str) -> Any:
    """Text as another type, null where it is not written plainly."""
    return _where(pc.match_substring_regex(given, plain).fill_null(False), given).cast(kind)


def _list(text: str | None) -> list[float] | None:
    try:
        values = None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return values if isinstance(values, list) and {*map(type, values)} <= {int, float} else None


def _odd(given: Any, values: Any) -> NDArray[np.bool_]:
    odd: NDArray[np.bool_] = pc.and_(pc.is_valid(given), pc.is_null(values)).to_numpy(zero_copy_only=False)
    return odd


def _where(condition: Any, values: Any) -> Any:
    return pc.if_else(condition, values, None)
