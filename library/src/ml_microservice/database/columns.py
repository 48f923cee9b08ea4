"""Column types of all tables, on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, MetaData, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID
from sqlalchemy.types import TypeEngine

from ml_microservice.features.spec import as_utc


class Moment(TypeDecorator[str]):
    """A moment in ISO 8601, in UTC with milliseconds, stored as `timestamptz` or as text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, which has no type for moments."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else TIMESTAMP(timezone=True, precision=3))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The moment as the database stores it."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return iso(moment) if dialect.name == "sqlite" else as_utc(moment)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """The moment as text."""
        return value if value is None or isinstance(value, str) else iso(value)


def iso(moment: datetime | str) -> str:
    """A moment as records write it; without a zone it is taken as UTC.

    Raises:
        ValueError: the text is no moment.
    """
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return as_utc(moment).astimezone(UTC).isoformat(timespec="milliseconds")


Id = Text().with_variant(UUID(as_uuid=False), "postgresql")
Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData()
"""All tables of the service, wherever they are declared."""
