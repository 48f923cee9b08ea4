"""Golden rows: requests stored with their predictions, which every load of the model has to reproduce."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.artefact.reader import GoldenRow
from ml_microservice.artefact.schema import dump_json
from ml_microservice.features.examples import example_row
from ml_microservice.features.layout import is_missing
from ml_microservice.features.spec import Feature, FeatureSpec
from ml_microservice.inference.served_model import ServedModel


def golden_rows(frame: pd.DataFrame, count: int, seed: int, served: ServedModel) -> list[GoldenRow]:
    """Sample rows of a frame as requests, with the predictions of the model that is about to be stored.

    Personal data is replaced by examples, because golden rows are stored as plain text.
    """
    spec = served.schema.spec
    sample = frame.sample(n=min(count, len(frame)), random_state=seed)
    example = example_row(spec)
    public = {feature.name: example[feature.name] for feature in spec.features if feature.pii}
    requests = [{**as_request(row, spec), **public} for row in sample.to_dict(orient="records")]
    columns = served.columns([served.row(dump_json(request)) for request in requests])
    answers = served.predictor.predict(columns)
    probabilities: list[list[float] | None] = [None] * len(requests)
    if answers.probabilities is not None:
        probabilities = answers.probabilities.tolist()
    return [
        GoldenRow(request, value, row)
        for request, value, row in zip(requests, answers.values, probabilities, strict=True)
    ]


def as_request(row: Mapping[Any, Any], spec: FeatureSpec) -> dict[str, Any]:
    """Convert a row of the training frame to the JSON object that a client would send."""
    present = (feature for feature in spec.features if not is_missing(row[feature.name]))
    return {feature.name: _jsonable(row[feature.name], feature) for feature in present}


def _jsonable(value: Any, feature: Feature) -> Any:
    if isinstance(value, datetime):
        return pd.Timestamp(value).isoformat()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    whole = feature.type == "int" or (feature.type == "category" and isinstance(value, float))
    return int(value) if whole else value
