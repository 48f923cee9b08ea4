"""The tables, on SQLite and PostgreSQL. A change here needs a migration; a test compares the two."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID
from sqlalchemy.types import TypeEngine

from service.features.spec import as_utc


class Moment(TypeDecorator[str]):
    """A moment as records have it, ISO 8601 in UTC with milliseconds: `timestamptz`, or text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, which has no type for moments."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else TIMESTAMP(timezone=True, precision=3))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """A moment or its text, to compare with."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return iso(moment) if dialect.name == "sqlite" else as_utc(moment)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """The text."""
        return value if value is None or isinstance(value, str) else iso(value)


def iso(moment: datetime | str) -> str:
    """A moment as records have it; without a zone it is in UTC.

    Raises:
        ValueError: the text is no moment.
    """
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return as_utc(moment).astimezone(UTC).isoformat(timespec="milliseconds")


Id = Text().with_variant(UUID(as_uuid=False), "postgresql")
Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData()

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
    # No foreign key: feedback may come before its prediction has been shipped, and stay when that is deleted.
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
