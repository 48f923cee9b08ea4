"""Inserts records, with as little processor time as possible, because predictions are served on the same machine."""

import re
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from ml_microservice.database.columns import iso
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record

# All rows are one JSON parameter that PostgreSQL splits, which takes a third of the time of single values.
PREDICTIONS_OF_JSON = """
INSERT INTO predictions (prediction_id, time, route, model_version, model_id, entity_id, inputs, label, value,
                         probabilities, latency_ms)
SELECT prediction_id, time, route, model_version, model_id, entity_id, inputs,
       CASE WHEN jsonb_typeof(prediction) = 'string' THEN prediction #>> '{}' END,
       CASE WHEN jsonb_typeof(prediction) = 'number' THEN (prediction #>> '{}')::double precision END,
       NULLIF(probabilities, 'null'), latency_ms
FROM jsonb_to_recordset(%s::jsonb) AS record (prediction_id uuid, time timestamptz, route text, model_version text,
     model_id text, entity_id text, inputs jsonb, prediction jsonb, probabilities jsonb, latency_ms double precision)
ON CONFLICT DO NOTHING
"""
FEEDBACK_OF_JSON = """
INSERT INTO feedback (feedback_id, prediction_id, label, value, observed_at, source, received_at)
SELECT feedback_id, prediction_id,
       CASE WHEN jsonb_typeof(label) = 'string' THEN label #>> '{}' END,
       CASE WHEN jsonb_typeof(label) = 'number' THEN (label #>> '{}')::double precision END,
       observed_at, source, received_at
FROM jsonb_to_recordset(%s::jsonb) AS record (feedback_id uuid, prediction_id uuid, label jsonb,
     observed_at timestamptz, source text, received_at timestamptz)
ON CONFLICT DO NOTHING
"""
PREDICTIONS = """
INSERT INTO predictions (prediction_id, time, route, model_version, model_id, entity_id, inputs, label, value,
                         probabilities, latency_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
FEEDBACK = """
INSERT INTO feedback (feedback_id, prediction_id, label, value, observed_at, source, received_at)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
ISO_LENGTH = len("2026-01-31T12:00:00.000+00:00")


def insert(connection: Connection, records: Sequence[Record]) -> None:
    """Insert records. Records that exist already are not changed.

    Raises:
        DBAPIError: the database refused or failed.
        ValueError, TypeError, OverflowError: JSON or the driver cannot represent a value of a record.
    """
    predictions = [record for record in records if isinstance(record, PredictionRecord)]
    feedback = [record for record in records if isinstance(record, FeedbackRecord)]
    is_postgresql = connection.dialect.name == "postgresql"
    if predictions and is_postgresql:
        connection.exec_driver_sql(PREDICTIONS_OF_JSON, (_json(predictions),))
    elif predictions:
        connection.exec_driver_sql(PREDICTIONS, [_prediction_row(record) for record in predictions])
    if feedback and is_postgresql:
        connection.exec_driver_sql(FEEDBACK_OF_JSON, (_json(feedback),))
    elif feedback:
        connection.exec_driver_sql(FEEDBACK, [_feedback_row(record) for record in feedback])


def _json(records: Sequence[Record]) -> str:
    """Records as JSON for PostgreSQL. NUL characters are replaced by U+FFFD, because its texts cannot hold them."""
    text = orjson.dumps(records).decode()
    # After an even number of backslashes, which are escaped characters of the text, `\u0000` is an escape itself.
    return NUL.sub(r"\1\\ufffd", text) if r"\u0000" in text else text


def _prediction_row(record: PredictionRecord) -> tuple[Any, ...]:
    return (
        record.prediction_id,
        _time(record.time),
        record.route,
        record.model_version,
        record.model_id,
        None if record.entity_id is None else str(record.entity_id),
        orjson.dumps(record.inputs).decode(),
        *_label_and_value(record.prediction),
        None if record.probabilities is None else orjson.dumps(record.probabilities).decode(),
        record.latency_ms,
    )


def _feedback_row(record: FeedbackRecord) -> tuple[Any, ...]:
    return (
        record.feedback_id,
        record.prediction_id,
        *_label_and_value(record.label),
        None if record.observed_at is None else _time(record.observed_at),
        record.source,
        _time(record.received_at),
    )


def _label_and_value(answer: str | float) -> tuple[str | None, float | None]:
    return (answer, None) if isinstance(answer, str) else (None, answer)


def _time(text: str) -> str:
    """A time in the form that SQLite can sort. Records usually have this form already."""
    return text if len(text) == ISO_LENGTH and text.endswith("+00:00") else iso(text)
