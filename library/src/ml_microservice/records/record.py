"""What is recorded: predictions and feedback, one by one as sinks take them, or many in one line as a segment has them.

A segment holds JSON lines. A line is one prediction; the predictions of a call, by columns, so that recording many rows
costs little; or one request's feedback. Readers spread a line into records.
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
    """UUID; the key that makes shipping a record twice harmless."""
    time: str
    """When it was answered: ISO 8601, UTC, milliseconds."""
    route: str
    """How it was asked for: `predict`, `batch`, `infer`, `job`."""
    model_version: str
    model_id: str
    entity_id: str | int | None
    inputs: Mapping[str, Any]
    """By feature; a feature that is `pii` is left out or is a keyed hash, as `records.pii` says."""
    prediction: str | float
    """Name of the class, or the number."""
    probabilities: Mapping[str, float] | None
    """Of the likeliest classes, as many as `records.n_best` says; None for regression and without `predict_proba`."""
    latency_ms: float
    """From the request's arrival to its record; of the whole call, where many rows were answered by one."""

    kind: Literal["prediction"] = "prediction"

    @property
    def id(self) -> str:
        """The record's own key."""
        return self.prediction_id

    def as_json(self) -> dict[str, Any]:
        """The record as sinks write it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """What became known of a prediction later; of several for one prediction, the one received last counts."""

    feedback_id: str
    """UUID, made when it was accepted."""
    prediction_id: str
    label: str | float
    """Name of the true class, or the true number."""
    observed_at: str | None
    """When it became known, as the caller says: ISO 8601."""
    source: str | None
    """Where it comes from, as the caller says."""
    received_at: str
    """When it was accepted: ISO 8601, UTC, milliseconds."""

    kind: Literal["feedback"] = "feedback"

    @property
    def id(self) -> str:
        """The record's own key."""
        return self.feedback_id

    def as_json(self) -> dict[str, Any]:
        """The record as sinks write it."""
        return {name: getattr(self, name) for name in self.__slots__}


Record = PredictionRecord | FeedbackRecord


LINE = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NAIVE_UTC


def call_start(model_version: str, model_id: str, route: str, features: Sequence[str] | None = None) -> bytes:
    """How the lines of a route and a model start, made once.

    Args:
        model_version: of the model.
        model_id: of the model.
        route: of the requests.
        features: names of the inputs, for lines of one row.
    """
    head = {"kind": "prediction", "model_version": model_version, "model_id": model_id, "route": route}
    return orjson.dumps(head if features is None else {**head, "features": features})[:-1] + b","


def row_line(
    call: bytes,
    prediction_id: str,
    entity_id: str | int | None,
    inputs: Sequence[Any],
    prediction: str | float,
    probabilities: Mapping[str, float] | None,
) -> bytes:
    """One line of a segment: a single prediction.

    Args:
        call: as `call_start` made it, with features, and ended by `"time":"...","latency_ms":...,`.
        prediction_id: of the prediction.
        entity_id: of the row, if it has one.
        inputs: in the order of the features.
        prediction: the class, or the number.
        probabilities: of the best classes.
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
    ids: Sequence[str],
    entity_ids: Sequence[str | int | None] | None,
    inputs: Mapping[str, Any],
    predictions: Sequence[str | float],
    probabilities: Mapping[str, Any] | None,
) -> bytes:
    """One line of a segment: the predictions of a call.

    Args:
        call: what the rows share, as `call_start` made it and ended by `"time":"...","latency_ms":...,`.
        ids: of the predictions, n of them.
        entity_ids: n of them; None where no row has one.
        inputs: by feature, n values each, as lists or columns of `ml_microservice.features.columns`.
        predictions: n of them.
        probabilities: by class, n values each; NaN or None where the class is not among the best.
    """
    columns = {
        # Put in as it is, because a line may have megabytes, and each copy of it costs as much as writing it.
        "call": orjson.Fragment(call[:-1] + b"}"),
        "ids": ids,
        "entity_ids": entity_ids,
        "inputs": {name: _without_nat(column) for name, column in inputs.items()},
        "predictions": predictions,
        "probabilities": probabilities,
    }
    return orjson.dumps(columns, _listed, LINE)


def _without_nat(column: Any) -> Any:
    """A column of moments with None for NaT, at which orjson fails."""
    is_moments = isinstance(column, np.ndarray) and column.dtype.kind == "M"
    return as_list(column) if is_moments and np.isnat(column).any() else column


def _listed(value: Any) -> Any:
    """What orjson asks for where it takes an array for none of its own, such as one of objects."""
    if isinstance(value, np.ndarray):
        return as_list(value)
    raise TypeError


def feedback_line(records: Sequence[FeedbackRecord]) -> bytes:
    """One line of a segment: the feedback of a request."""
    return orjson.dumps({"kind": "feedback", "records": [asdict(record) for record in records]}) + b"\n"


def records_in(line: bytes) -> list[Record]:
    """The records of one line of a segment.

    Raises:
        ValueError: it is none.
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
    raise ValueError(f"{kind!r} is no kind of record")


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
