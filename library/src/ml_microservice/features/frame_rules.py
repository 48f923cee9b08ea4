"""The rules for a column of the training frame, each with its message and advice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_values import (
    each,
    fits_int64,
    is_boolean,
    is_infinite,
    is_moment,
    is_number,
    is_text,
    is_whole,
    moments,
    numbers,
    vector,
)
from ml_microservice.features.spec import (
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)

DATA_LOADER_FILE = "src/model/data_loader.py"


def shown(value: Any) -> str:
    """A value as people write it, cut to what fits a sentence."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _characters(value: str) -> str:
    return f"{len(value)} characters"


def _elements(value: Sequence[Any]) -> str:
    return f"{len(value)} elements"


@dataclass(frozen=True)
class Rule:
    """One rule of one column."""

    passes: Callable[["pd.Series[Any]"], "pd.Series[bool] | bool"]
    """Which values keep the rule, or whether the column as a whole does; missing values are left out before."""
    problem: str
    """What is wrong with a value that does not."""
    advice: str | Callable[[Any], str]
    """What to do about it, which may depend on the first such value."""
    file: str = DATA_LOADER_FILE
    """The file that is most likely to be mended."""
    shows: Callable[[Any], str] | None = shown
    """How to show a value that breaks the rule; None says nothing about it."""
    limit: int = 3
    """How many distinct values to show."""
    sees_missing: bool = False
    """Whether missing values are left in."""


def feature_rules(feature: Feature) -> list[Rule]:
    """The rules of a feature's column, in the order in which faults are reported."""
    return [_presence(feature), *_value_rules(feature)]


def _presence(feature: Feature) -> Rule:
    if feature.optional:
        advice = f"let DataLoader fill it, or remove the feature from {FEATURES_FILE}"
        problem = "without a single value, so that nothing can be learnt from it"
        return Rule(lambda c: bool(c.notna().any()), problem, advice, sees_missing=True)
    advice = f"set 'optional: true' in {FEATURES_FILE} if requests may lack it too, otherwise fill or drop these rows"
    if feature.has_default:
        advice += "; 'default' fills requests, not training data"
    return Rule(lambda c: c.notna(), "missing", advice, shows=None, sees_missing=True)


def _value_rules(feature: Feature) -> list[Rule]:
    column = f"frame[{feature.name!r}]"
    match feature:
        case FloatFeature():
            return [_number_rule(column), _finite_rule(feature), *_range_rules(feature, _finite, _finite)]
        case IntFeature():
            whole = Rule(
                lambda c: ~is_number(c) | is_whole(c),
                "not a whole number",
                "set 'type: float', or round them in DataLoader",
                FEATURES_FILE,
            )
            fits = Rule(
                lambda c: fits_int64(c) | is_infinite(c),
                "beyond 64 bits",
                "set 'type: float' or 'type: category', or scale them down in DataLoader",
                FEATURES_FILE,
            )
            ranges = _range_rules(feature, _finite, _finite)
            return [_number_rule(column), whole, _finite_rule(feature), fits, *ranges]
        case BoolFeature():
            return [Rule(is_boolean, "neither True nor False", lambda value: _to_boolean(value, column))]
        case CategoryFeature():
            return _category_rules(feature, column)
        case StringFeature(max_length=limit):
            too_long = Rule(
                lambda c: each(c, lambda value: not isinstance(value, str) or len(value) <= limit),
                f"longer than max_length {limit}",
                "raise max_length, or cut the text in DataLoader",
                FEATURES_FILE,
                shows=_characters,
            )
            return [Rule(is_text, "not text", f"convert it in DataLoader: {column}.astype('str')"), too_long]
        case DatetimeFeature():
            advice = f"convert it in DataLoader: pd.to_datetime({column})"
            return [
                Rule(is_moment, "not a datetime", advice),
                *_range_rules(feature, moments, moments),
            ]
        case VectorFeature():
            return _vector_rules(feature)


def _number_rule(column: str) -> Rule:
    return Rule(is_number, "not a number", lambda value: _to_number(value, column))


def _finite_rule(feature: Feature) -> Rule:
    advice = "replace them in DataLoader by a number" + (" or by NaN" if feature.optional else "")
    return Rule(lambda c: ~is_infinite(c), "infinite", advice, shows=None)


def _range_rules(
    feature: FloatFeature | IntFeature | DatetimeFeature | VectorFeature,
    lowest: Callable[["pd.Series[Any]"], "pd.Series[Any]"],
    highest: Callable[["pd.Series[Any]"], "pd.Series[Any]"],
) -> list[Rule]:
    """Rules of `min` and `max`; a value that has no lowest or highest, being of another type, passes."""
    low, high, rules = feature.min, feature.max, []
    advice = "move {} if such values are right, otherwise clean them in DataLoader"
    if low is not None:
        problem = f"below min {_bound(low)}"
        rules.append(Rule(lambda c: ~(lowest(c) < low), problem, advice.format("min"), FEATURES_FILE))
    if high is not None:
        problem = f"above max {_bound(high)}"
        rules.append(Rule(lambda c: ~(highest(c) > high), problem, advice.format("max"), FEATURES_FILE))
    return rules


def _is_unicode(value: Any) -> bool:
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


UNICODE = Rule(
    lambda column: column.dtype != object or each(column, _is_unicode),
    "text with half a character in it (a lone surrogate), which no request can carry",
    "clean it in DataLoader: .str.encode('utf-8', 'ignore').str.decode('utf-8')",
)
"""Checked first in columns of every type; a column with such text is checked by no other rule."""


def _category_rules(feature: CategoryFeature, column: str) -> list[Rule]:
    words = isinstance(feature.values[0], str)
    is_kind = is_text if words else is_whole
    kind = "text" if words else "a whole number"
    advice = f"write `values` in {FEATURES_FILE} as the frame has them, or convert the column in DataLoader: {column}"
    known = Rule(
        lambda c: ~is_kind(c) | (c if words else numbers(c)).isin(feature.values),
        "a value that `values` lacks",
        "add it to `values`, or clean it in DataLoader",
        FEATURES_FILE,
        limit=20,
    )
    convert = ".astype('str')" if words else ".astype('Int64')"
    return [Rule(is_kind, f"not {kind}, unlike `values`,", advice + convert), known]


def _vector_rules(feature: VectorFeature) -> list[Rule]:
    def elements(column: "pd.Series[Any]", take: Callable[[Any], float]) -> "pd.Series[float]":
        arrays = (vector(value) for value in column)
        found = [np.nan if array is None or not array.size else take(array) for array in arrays]
        return pd.Series(found, index=column.index, dtype="float64")

    advice = "let DataLoader return a list or a one-dimensional array of numbers in each row"
    length = Rule(
        lambda c: each(c, lambda value: (array := vector(value)) is None or len(array) == feature.length),
        f"a vector of another length than {feature.length}",
        "correct `length`, or the vectors in DataLoader",
        FEATURES_FILE,
        shows=_elements,
    )
    finite = Rule(
        lambda c: each(c, lambda value: (array := vector(value)) is None or bool(np.isfinite(array).all())),
        "a vector with NaN or infinity in it",
        "replace them in DataLoader by numbers; only a whole vector can be missing",
        shows=None,
    )
    is_vector = Rule(lambda c: each(c, lambda v: vector(v) is not None), "not a vector of numbers", advice)
    ranges = _range_rules(feature, lambda c: elements(c, np.min), lambda c: elements(c, np.max))
    return [is_vector, length, finite, *ranges]


def _finite(column: "pd.Series[Any]") -> "pd.Series[float]":
    """The finite numbers, NaN elsewhere."""
    return numbers(column).where(~is_infinite(column))


def _bound(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value).removesuffix(".0")


def _to_number(value: Any, column: str) -> str:
    match value:
        case bool() | np.bool_():
            return f"set 'type: bool' in {FEATURES_FILE}, or convert it in DataLoader: {column}.astype(float)"
        case datetime():
            return f"set 'type: datetime' in {FEATURES_FILE}, or derive a number from it in DataLoader"
        case list() | tuple() | np.ndarray():
            return f"set 'type: vector' in {FEATURES_FILE}"
        case _:
            convert = f"pd.to_numeric({column}, errors='coerce')"
            return f"convert it in DataLoader: {convert}, or set 'type: category' in {FEATURES_FILE}"


def _to_boolean(value: Any, column: str) -> str:
    if isinstance(value, str):
        return f"convert it in DataLoader: {column}.map({{'yes': True, 'no': False}}) with your own words"
    return f"convert it in DataLoader: {column}.astype('boolean'), or set another type in {FEATURES_FILE}"
