"""Records of predictions and feedback, and the lines of a segment that hold them.

A segment holds JSON lines. A line holds one prediction, all predictions of a call in columns (which makes recording
many rows cheap), or the feedback of one request. Readers turn each line into single records.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import orjson

from ml_microservice.features.columns import as_list


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One answered prediction."""

    prediction_id: str
    """UUID. As the key of the record it makes shipping idempotent."""
    time: str
    """Time of the answer: ISO 8601, UTC, milliseconds."""
    route: str
    """How the prediction was requested: `predict`, `batch`, `infer` or `job`."""
    model_version: str
    model_id: str
    entity_id: str | int | None
    inputs: Mapping[str, Any]
    """By feature. A feature marked `pii` is left out or replaced by a keyed hash, as `records.pii` says."""
    prediction: str | float
    """Name of the class, or the predicted number."""
    probabilities: Mapping[str, float] | None
    """By class, for the `records.n_best` likeliest classes; None for regression and without `predict_proba`."""
    latency_ms: float
    """Time from the request's arrival to this record; for a call with many rows, that of the whole call."""

    kind: Literal["prediction"] = "prediction"

    @property
    def id(self) -> str:
        """The record's own key."""
        return self.prediction_id

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """The true value of a prediction, reported later. If there are several, the one received last counts."""

    feedback_id: str
    """UUID, generated when the feedback was accepted."""
    prediction_id: str
    label: str | float
    """Name of the true class, or the true number."""
    observed_at: str | None
    """When the label became known, according to the caller: ISO 8601."""
    source: str | None
    """Where the label comes from, according to the caller."""
    received_at: str
    """When the feedback was accepted: ISO 8601, UTC, milliseconds."""

    kind: Literal["feedback"] = "feedback"

    @property
    def id(self) -> str:
        """The record's own key."""
        return self.feedback_id

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


Record = PredictionRecord | FeedbackRecord


LINE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NAIVE_UTC


def call_start(model_version: str, model_id: str, route: str, features: Sequence[str] | None = None) -> bytes:
    """The start that all lines of a route and a model share, so that it is serialized only once.

    Args:
        model_version: the model's version.
        model_id: the model's id.
        route: the route of the requests.
        features: names of the recorded features, for lines of one row.
    """
    head = {"kind": "prediction", "model_version": model_version, "model_id": model_id, "route": route}
    return orjson.dumps(head if features is None else {**head, "features": features})[:-1] + b","


def row_line(
    call: bytes,
    *,
    prediction_id: str,
    entity_id: str | int | None,
    inputs: Sequence[Any],
    prediction: str | float,
    probabilities: Mapping[str, float] | None,
) -> bytes:
    """The line of a single prediction.

    Args:
        call: the result of `call_start` with features, followed by `"time":"...","latency_ms":...,`.
        prediction_id: UUID of the prediction.
        entity_id: the row's entity id, if it has one.
        inputs: values in the order of the features.
        prediction: the class, or the number.
        probabilities: by class, for the likeliest classes.
    """
    row = {
        "id": prediction_id,
        "entity_id": entity_id,
        "inputs": inputs,
        "prediction": prediction,
        "probabilities": probabilities,
    }
    return call + orjson.dumps(row, None, LINE)[1:]


def prediction_line(
    call: bytes,
    *,
    ids: Sequence[str],
    entity_ids: Sequence[str | int | None] | None,
    inputs: Mapping[str, Any],
    predictions: Sequence[str | float],
    probabilities: Mapping[str, Any] | None,
) -> bytes:
    """The line of all n predictions of a call.

    Args:
        call: the result of `call_start`, followed by `"time":"...","latency_ms":...,`.
        ids: n UUIDs of the predictions.
        entity_ids: n entity ids; None if no row has one.
        inputs: n values of each feature, as lists or columns of `ml_microservice.features.columns`.
        predictions: n classes or numbers.
        probabilities: n values of each class; NaN or None where the class is not among the likeliest.
    """
    columns = {
        # Embedded as it is, so that a line of many megabytes is serialized once and not copied.
        "call": orjson.Fragment(call[:-1] + b"}"),
        "ids": ids,
        "entity_ids": entity_ids,
        "inputs": {name: _without_nat(column) for name, column in inputs.items()},
        "predictions": predictions,
        "probabilities": probabilities,
    }
    return orjson.dumps(columns, _listed, LINE)


def _without_nat(column: Any) -> Any:
    """A column with NaT replaced by None, because orjson cannot serialize NaT."""
    is_moments = isinstance(column, np.ndarray) and column.dtype.kind == "M"
    return as_list(column) if is_moments and np.isnat(column).any() else column


def _listed(value: Any) -> Any:
    """The fallback of orjson for arrays that it does not support, such as arrays of objects."""
    if isinstance(value, np.ndarray):
        return as_list(value)
    raise TypeError


def feedback_line(records: Sequence[FeedbackRecord]) -> bytes:
    """The line of one request's feedback."""
    return orjson.dumps({"kind": "feedback", "records": [asdict(record) for record in records]}) + b"\n"


def records_in(line: bytes) -> list[Record]:
    """Parse a line of a segment.

    Raises:
        ValueError: it is not a line of records.
    """
    try:
        data = orjson.loads(line)
        kind = data.get("call", data)["kind"]
        if kind == "feedback":
            return [FeedbackRecord(**record) for record in data["records"]]
        if kind == "prediction":
            return list(_predictions(data))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a line of records: {error!r}") from None
    raise ValueError(f"{kind!r} is not a kind of record")


def _predictions(data: Mapping[str, Any]) -> Iterator[PredictionRecord]:
    call = data.get("call", data)
    shared = {key: call[key] for key in ("time", "route", "model_version", "model_id", "latency_ms")}
    if "id" in data:
        yield PredictionRecord(
            prediction_id=data["id"],
            entity_id=data["entity_id"],
            inputs=dict(zip(data["features"], data["inputs"], strict=True)),
            prediction=data["prediction"],
            probabilities=data["probabilities"],
            **shared,
        )
        return
    ids, entity_ids, values = data["ids"], data["entity_ids"], data["predictions"]
    inputs, probabilities = data["inputs"], data["probabilities"]
    for row, prediction_id in enumerate(ids):
        likely = None
        if probabilities is not None:
            likely = {name: column[row] for name, column in probabilities.items() if column[row] is not None}
        yield PredictionRecord(
            prediction_id=prediction_id,
            entity_id=None if entity_ids is None else entity_ids[row],
            inputs={name: column[row] for name, column in inputs.items()},
            prediction=values[row],
            probabilities=likely,
            **shared,
        )
