"""Records as flat documents, in the form that Fluentd receives and Elasticsearch stores."""

from typing import Any

from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record

TIME_KEY = "@timestamp"
PREDICTION_ID = "prediction_id"
FEEDBACK_ID = "feedback_id"
INPUT = "inputs."
"""Prefix of the key of a feature's value."""
PROBABILITY = "probabilities."
"""Prefix of the key of a class's probability."""


def document(record: Record) -> dict[str, Any]:
    """A record as a flat dictionary. A dot in the name of a feature or class does not mean nesting."""
    return prediction_document(record) if isinstance(record, PredictionRecord) else feedback_document(record)


def prediction_document(record: PredictionRecord) -> dict[str, Any]:
    """The document of a prediction. `confidence` is the largest probability, if there are probabilities."""
    fields: dict[str, Any] = {
        TIME_KEY: record.time,
        PREDICTION_ID: record.prediction_id,
        "entity_id": _as_keyword(record.entity_id),
        "model_version": record.model_version,
        "model_id": record.model_id,
        "route": record.route,
        "prediction": record.prediction,
        "latency_ms": record.latency_ms,
    }
    if record.probabilities:
        fields["confidence"] = max(record.probabilities.values())
        fields |= {PROBABILITY + name: value for name, value in record.probabilities.items()}
    return fields | {INPUT + name: value for name, value in record.inputs.items()}


def feedback_document(record: FeedbackRecord) -> dict[str, Any]:
    """The document of feedback."""
    return {
        TIME_KEY: record.received_at,
        FEEDBACK_ID: record.feedback_id,
        PREDICTION_ID: record.prediction_id,
        "label": record.label,
        "observed_at": record.observed_at,
        "source": record.source,
    }


def _as_keyword(value: str | int | None) -> str | None:
    """An entity id as text, because an integer may be larger than the Forward protocol can carry."""
    return None if value is None else str(value)
