"""The profile of each feature in the training data, for the evaluation report."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.errors import listed
from ml_microservice.features.layout import is_missing
from ml_microservice.features.spec import Feature, FeatureSpec
from ml_microservice.pages.number_format import limit, percent

SHAPE_BARS = 16
"""The most bars of a distribution."""


@dataclass(frozen=True)
class FeatureProfile:
    """The profile of one feature."""

    name: str
    type: str
    unit: str
    description: str
    missing: float
    """The share of rows without a value."""
    values: str
    """The range or the most frequent values, in words; empty for personal data."""
    shape: tuple[float, ...]
    """The heights of a histogram, from 0 to 1; empty for vectors, text and personal data."""
    pii: bool


def profile_features(spec: FeatureSpec, frame: pd.DataFrame) -> list[FeatureProfile]:
    """Profile the features of a frame; the profile of personal data shows no value."""
    return [_profile(feature, frame[feature.name]) for feature in spec.features]


def _profile(feature: Feature, column: "pd.Series[Any]") -> FeatureProfile:
    present = column[[not is_missing(value) for value in column]]
    values, shape = ("", ()) if feature.pii else _values(feature, present) if len(present) else ("no values", ())
    missing = 1 - len(present) / len(column) if len(column) else 0.0
    return FeatureProfile(
        feature.name, feature.type, feature.unit, feature.description, missing, values, shape, feature.pii
    )


def _values(feature: Feature, present: "pd.Series[Any]") -> tuple[str, tuple[float, ...]]:
    """Range or most frequent values in words, and the histogram; `present` has at least one value."""
    match feature.type:
        case "float" | "int":
            numbers = present.to_numpy(dtype=np.float64)
            low, middle, high = (limit(float(value)) for value in np.quantile(numbers, (0, 0.5, 1)))
            return f"{low} to {high}, median {middle}", _shape(numbers)
        case "category" | "bool":
            # Whole numbers are floats if the column has missing values.
            names = [str(int(value)) if isinstance(value, float) else str(value) for value in present.tolist()]
            counts = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
            shown = [f"{name} {percent(count / len(names))}" for name, count in counts]
            return listed(shown, limit=4), tuple(count / counts[0][1] for _, count in counts[:SHAPE_BARS])
        case "datetime":
            moments = pd.to_datetime(present, utc=True)
            limits = f"{moments.min():%Y-%m-%d} to {moments.max():%Y-%m-%d}"
            return limits, _shape(moments.astype("int64").astype("float64").to_numpy())
        case "vector":
            elements = np.concatenate([np.asarray(value, dtype=np.float64) for value in present])
            return f"{feature.length} numbers from {limit(elements.min())} to {limit(elements.max())}", ()
        case "string":
            # Free text may contain personal data: it is counted, never shown.
            return f"{present.nunique():,} different texts, up to {present.map(len).max():,} characters", ()


def _shape(numbers: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """The heights of a histogram; `numpy.histogram` refuses very wide and very narrow ranges."""
    scaled = numbers / (np.abs(numbers).max() or 1)
    width = np.ptp(scaled) or 1
    places = np.minimum((scaled - scaled.min()) / width * SHAPE_BARS, SHAPE_BARS - 1).astype(int)
    counts = np.bincount(places, minlength=SHAPE_BARS)
    return tuple(float(count) for count in counts / counts.max())
