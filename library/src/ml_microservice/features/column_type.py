"""The feature that fits a column of the training frame: its type, its values and a typical example."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.errors import Fault, listed
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_rules import DATA_LOADER_FILE
from ml_microservice.features.frame_values import (
    fits_int64,
    is_boolean,
    is_infinite,
    is_integer,
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

FEW_WORDS = 20
"""At most so many distinct words, each seen again, are a category."""
VECTOR_EXAMPLE = 16
"""Vectors longer than this get no example: nobody reads it."""
TEXT_EXAMPLE = 200
"""Characters of an example at most."""


def feature_of(name: str, column: "pd.Series[Any]") -> Feature | Fault:
    """The feature that holds a column's values, or why none does.

    What was seen sets the type and a category's values, but neither minimum nor maximum, which would refuse new data.
    """
    values = column.dropna()
    if values.empty:
        advice = f"remove it, let DataLoader fill it, or write its type in {FEATURES_FILE}"
        return Fault(f"feature {name!r}: no row has a value to tell its type by", DATA_LOADER_FILE, advice=advice)
    common: dict[str, Any] = {"name": name, "optional": len(values) < len(column)}
    if isinstance(column.dtype, pd.CategoricalDtype) and (kinds := _categories(column.cat.categories)):
        return CategoryFeature(type="category", values=kinds, example=_mode(values, kinds), **common)
    if is_boolean(values).all():
        return BoolFeature(type="bool", example=bool(_mode(values)), **common)
    if is_number(values).all():
        return _number(values, common)
    if is_moment(values).all():
        return DatetimeFeature(type="datetime", example=_middle(moments(values)).floor("us").to_pydatetime(), **common)
    if is_text(values).all():
        return _text(values, common)
    return _vector(values, common)


def _categories(categories: "pd.Index[Any]") -> tuple[Any, ...]:
    """A categorical's categories if they are all words or all whole numbers, or else nothing."""
    column = pd.Series(categories)
    if is_text(column).all():
        return tuple(column.tolist())
    whole = is_whole(column).all() and fits_int64(column).all()
    return tuple(int(value) for value in column) if whole else ()


def _number(values: "pd.Series[Any]", common: dict[str, Any]) -> Feature:
    # Whole floats stay float: integers that were read with gaps look like amounts that happen to be round.
    if is_integer(values).all() and fits_int64(values).all():
        return IntFeature(type="int", example=int(_middle(values)), **common)
    finite = numbers(values)[~is_infinite(values)]
    return FloatFeature(type="float", example=None if finite.empty else float(_middle(finite)), **common)


def _text(values: "pd.Series[Any]", common: dict[str, Any]) -> Feature:
    counts = Counter(values)
    if len(counts) <= FEW_WORDS and min(counts.values()) > 1:
        return CategoryFeature(type="category", values=tuple(sorted(counts)), example=_mode(values), **common)
    longest = max(map(len, counts))
    limit: int = StringFeature.model_fields["max_length"].default
    while limit < longest:
        limit *= 2
    typical = _mode(values) if max(counts.values()) > 1 else sorted(counts, key=len)[(len(counts) - 1) // 2]
    return StringFeature(type="string", max_length=limit, example=typical[:TEXT_EXAMPLE], **common)


def _vector(values: "pd.Series[Any]", common: dict[str, Any]) -> Feature | Fault:
    arrays = [vector(value) for value in values]
    lengths = {len(array) for array in arrays if array is not None}
    if any(array is None for array in arrays) or len(lengths) > 1 or lengths == {0}:
        kinds = sorted({type(value).__name__ for value in values})
        message = f"feature {common['name']!r}: no type of features.yaml holds its values, which are {listed(kinds)}"
        if len(lengths) > 1:
            message += f" of lengths {listed(sorted(lengths))}"
        advice = "convert it in DataLoader to numbers, booleans, text, datetimes or lists of numbers of one length"
        return Fault(message, DATA_LOADER_FILE, advice=advice)
    middle = arrays[len(arrays) // 2]
    readable = middle is not None and len(middle) <= VECTOR_EXAMPLE and bool(np.isfinite(middle).all())
    example = tuple(middle.tolist()) if middle is not None and readable else None
    return VectorFeature(type="vector", length=lengths.pop(), example=example, **common)


def _middle(values: "pd.Series[Any]") -> Any:
    """The value in the middle: a median that exists."""
    return sorted(values)[(len(values) - 1) // 2]


def _mode(values: "pd.Series[Any]", known: tuple[Any, ...] = ()) -> Any:
    """The most frequent value, the first of equals; as it stands among `known`, if given."""
    value = Counter(values).most_common(1)[0][0]
    return known[known.index(value)] if known else value
