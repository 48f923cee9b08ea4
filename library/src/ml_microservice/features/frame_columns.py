"""The rows of a training frame as values of a request."""

from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.features.layout import is_missing
from ml_microservice.features.spec import CategoryFeature, Feature, FeatureSpec, IntFeature


def request_columns(frame: pd.DataFrame, spec: FeatureSpec) -> dict[str, list[Any]]:
    """Rows of a frame in the training layout, as `Columns` of plain Python values: None for missing."""
    return {feature.name: [_plain(value, feature) for value in frame[feature.name]] for feature in spec.features}


def _plain(value: Any, feature: Feature) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, np.ndarray):
        return value.tolist()
    value = value.item() if isinstance(value, np.generic) else value
    whole = isinstance(feature, IntFeature) or (isinstance(feature, CategoryFeature) and isinstance(value, float))
    return int(value) if whole else value
