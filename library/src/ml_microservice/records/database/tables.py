"""The tables of records in SQLite and PostgreSQL. A change needs a migration; a test compares both."""

from sqlalchemy import CheckConstraint, Column, Double, Index, Table, Text

from ml_microservice.database.columns import Document, Id, Moment, metadata

predictions = Table(
    "predictions",
    metadata,
    Column("prediction_id", Id, primary_key=True),
    Column("time", Moment, nullable=False, comment="When it was answered"),
    Column("route", Text, nullable=False, comment="How it was asked for: predict, batch, infer, job"),
    Column("model_version", Text, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("entity_id", Text, comment="A whole number as text, too"),
    Column("inputs", Document, nullable=False, comment="By feature; pii is left out or hashed"),
    Column("label", Text, comment="The predicted class, of a classifier"),
    Column("value", Double, comment="The predicted number, of a regressor"),
    Column("probabilities", Document, comment="Of the likeliest classes"),
    Column("latency_ms", Double, nullable=False),
    CheckConstraint("(label IS NULL) <> (value IS NULL)", name="predictions_label_or_value"),
    Index("predictions_time", "time"),
    Index("predictions_model_version_time", "model_version", "time"),
    Index("predictions_entity_id", "entity_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Id, primary_key=True),
    # No foreign key: feedback may arrive before its prediction is shipped.
    Column("prediction_id", Id, nullable=False),
    Column("label", Text, comment="The true class, of a classifier"),
    Column("value", Double, comment="The true number, of a regressor"),
    Column("observed_at", Moment, comment="When it became known, as the caller says"),
    Column("source", Text, comment="Where it comes from, as the caller says"),
    Column("received_at", Moment, nullable=False, comment="Of several for one prediction, the last one counts"),
    CheckConstraint("(label IS NULL) <> (value IS NULL)", name="feedback_label_or_value"),
    Index("feedback_prediction_id_received_at", "prediction_id", "received_at"),
    Index("feedback_received_at", "received_at"),
)
