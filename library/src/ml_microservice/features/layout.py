"""The layout of the frame that the Preprocessor gets: one dtype per feature, the same in training and in serving.

Training data and requests reach the Preprocessor through the same two functions of this module, so that they cannot
come out differently: a number is float64 in both, a missing value NaN (or None, or NaT) in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from ml_microservice.features.columns import Column, Columns, as_list
from ml_microservice.features.spec import (
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FeatureSpec,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
    as_utc,
)


@dataclass(frozen=True)
class FrameLayout:
    """Names, order and dtypes of the Preprocessor's input columns."""

    dtypes: Mapping[str, str]
    """The dtype of each feature, as pandas spells it (`category` for a categorical)."""
    categories: Mapping[str, tuple[Any, ...]]
    """The categories, in order, of each feature whose dtype is `category`."""
    none_is_missing: frozenset[str]
    """Object columns in which a missing value is None, as it was in training, rather than NaN."""

    @property
    def names(self) -> list[str]:
        """The features, in order."""
        return list(self.dtypes)

    @classmethod
    def of(cls, frame: pd.DataFrame, spec: FeatureSpec) -> "FrameLayout":
        """The layout in which `frame`'s features are trained on; `frame` has passed its schema."""
        dtypes, categories, none_is_missing = {}, {}, set()
        for feature in spec.features:
            column = frame[feature.name]
            dtypes[feature.name] = _dtype(feature, column.dtype)
            if isinstance(column.dtype, pd.CategoricalDtype):
                categories[feature.name] = _categories(feature, column)
            if dtypes[feature.name] == "object" and _first_missing(column) is None:
                none_is_missing.add(feature.name)
        return cls(dtypes, categories, frozenset(none_is_missing))

    def from_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A training frame's features in this layout; a copy, with the index kept."""
        columns = {name: self._cast(name, _with_none(frame[name])) for name in self.dtypes}
        return pd.DataFrame(columns, index=frame.index)

    def from_columns(self, columns: Columns) -> pd.DataFrame:
        """Validated request values in this layout, indexed from 0."""
        series = {name: _series(columns[name], dtype) for name, dtype in self.dtypes.items()}
        return pd.DataFrame({name: self._cast(name, column) for name, column in series.items()})

    def as_json(self) -> dict[str, Any]:
        """The layout as JSON carries it."""
        categories = {name: list(values) for name, values in self.categories.items()}
        return {"dtypes": dict(self.dtypes), "categories": categories, "none_is_missing": sorted(self.none_is_missing)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FrameLayout":
        """The inverse of `as_json`."""
        categories = {name: tuple(values) for name, values in data["categories"].items()}
        return cls(data["dtypes"], categories, frozenset(data["none_is_missing"]))

    def _cast(self, name: str, column: "pd.Series[Any]") -> "pd.Series[Any]":
        dtype = self.dtypes[name]
        if dtype.startswith("datetime64"):
            return _moments(column, aware=dtype.endswith("UTC]"))
        if dtype == "category":
            return column.astype(pd.CategoricalDtype(list(self.categories[name])))
        if dtype == "object":
            missing = None if name in self.none_is_missing else np.nan
            return pd.Series([_object(value, missing) for value in column], index=column.index, dtype=object)
        return column.astype(cast(Any, dtype))


def _series(column: Column, dtype: str) -> "pd.Series[Any]":
    """A column of a request before it is cast; an array stays one where pandas keeps `dtype` as one too."""
    if isinstance(column, np.ndarray) and column.dtype.kind in DIRECT.get(dtype, ""):
        return pd.Series(column)
    return pd.Series(as_list(column), dtype=object)


DIRECT = {
    "float64": "fi",
    "float32": "fi",
    "int64": "i",
    "bool": "b",
    "datetime64[us]": "M",
    "datetime64[us, UTC]": "M",
}
"""Dtypes, and the kinds of arrays that come out of a cast to them as their values would one by one."""


def _dtype(feature: Feature, observed: Any) -> str:
    """The dtype that holds every value a request may carry, and is the observed one wherever that can be."""
    nullable = isinstance(observed, pd.api.extensions.ExtensionDtype) and observed.name[:1].isupper()
    match feature:
        case FloatFeature():
            return str(observed) if pd.api.types.is_float_dtype(observed) else "float64"
        case IntFeature():
            return "Int64" if nullable else "float64" if feature.optional else "int64"
        case BoolFeature():
            return "boolean" if observed.name == "boolean" else "object" if feature.optional else "bool"
        case CategoryFeature() if isinstance(observed, pd.CategoricalDtype):
            return "category"
        case CategoryFeature() if isinstance(feature.values[0], int):
            return "Int64" if nullable else "float64" if feature.optional else "int64"
        case CategoryFeature() | StringFeature():
            return "str" if pd.api.types.is_string_dtype(observed) and observed.name == "str" else "object"
        case DatetimeFeature():
            return "datetime64[us, UTC]" if isinstance(observed, pd.DatetimeTZDtype) else "datetime64[us]"
        case VectorFeature():
            return "object"


def _categories(feature: Feature, column: "pd.Series[Any]") -> tuple[Any, ...]:
    """The column's categories, and after them what `values` allows beyond: no valid request may come out as missing."""
    seen = column.cat.categories.tolist()
    return (*seen, *(value for value in getattr(feature, "values", ()) if value not in seen))


def _with_none(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """An object column with None for what is missing, as NumPy's dtypes know no other sign of it."""
    return column.where(column.notna(), None) if column.dtype == object else column


def is_missing(value: Any) -> bool:
    """Whether a single value stands for a missing one: None, NaN, NaT or NA, but not a list or an array."""
    return value is None or (np.ndim(value) == 0 and bool(pd.isna(value)))


def _first_missing(column: "pd.Series[Any]") -> Any:
    return next((value for value in column if is_missing(value)), None)


def _object(value: Any, missing: Any) -> Any:
    if is_missing(value):
        return missing
    return np.asarray(value, dtype=np.float64) if np.ndim(value) else value


def _moments(column: "pd.Series[Any]", *, aware: bool) -> "pd.Series[Any]":
    """Moments in UTC with microseconds, with or without their zone, as in training."""
    if column.dtype == object:
        moments = [None if is_missing(value) else as_utc(value) for value in column]
        column = pd.Series(moments, index=column.index, dtype="datetime64[us, UTC]")
    elif column.dt.tz is None:
        column = column.dt.tz_localize("UTC")
    column = column.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return column if aware else column.dt.tz_localize(None)
