"""The reference that drift is measured against, from the training frame and the predictions for held-out rows."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ml_microservice.artefact.reference import FORMAT, Reference
from ml_microservice.features.layout import is_missing
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.predictor import Predictions
from ml_microservice.monitoring.description import describe_feature, describe_numbers, describe_predictions

MOST_ROWS = 100_000
"""The most rows to describe; a larger frame is sampled, because drift in a window of records is no finer."""


def make_reference(spec: FeatureSpec, frame: pd.DataFrame, predictions: Predictions, seed: int) -> Reference:
    """Describe the features in all rows of the frame, and the predictions for held-out rows.

    Features use all rows, because more rows mean less noise. Predictions use held-out rows only, because a model is
    more confident on the rows that it was trained on.
    """
    rows = frame.sample(n=MOST_ROWS, random_state=seed) if len(frame) > MOST_ROWS else frame
    confidence = None
    if predictions.probabilities is not None:
        confidence = describe_numbers(predictions.probabilities.max(axis=1))
    return Reference(
        format=FORMAT,
        rows=len(rows),
        features={
            feature.name: describe_feature(feature.type, _listed(rows[feature.name]))
            for feature in spec.features
            if not feature.pii
        },
        personal=tuple(feature.name for feature in spec.features if feature.pii),
        predictions=describe_predictions(predictions.values),
        confidence=confidence,
    )


def _listed(column: "pd.Series[Any]") -> Sequence[Any]:
    return [None if is_missing(value) else value for value in column.tolist()]
