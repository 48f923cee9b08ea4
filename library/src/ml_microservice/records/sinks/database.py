"""The sink `database`: stores records in SQLite or PostgreSQL, each batch in a transaction."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy.exc import DBAPIError, StatementError

from ml_microservice.database.engine import open_engine, reason
from ml_microservice.database.revision import migrate, require_current
from ml_microservice.errors import DatabaseError
from ml_microservice.records.database.inserts import insert
from ml_microservice.records.database.store import RecordStore
from ml_microservice.records.record import Record
from ml_microservice.records.sinks.sink import Refused, SinkDown
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
REFUSING = ("22", "23", "54")
"""PostgreSQL's classes of errors that are caused by the data: wrong values, violated constraints, size limits."""

PRUNE_SECONDS = 24 * 3600
"""Interval at which records older than `records.retention_days` are deleted."""


class DatabaseSink:
    """Writes to `database.url`. It creates or migrates the tables before the first record.

    Once a day, after storing records, it deletes records older than `records.retention_days`.

    Args:
        settings: the project's settings.

    Raises:
        ConfigError: this kind of database is not supported.
    """

    name = "database"

    def __init__(self, settings: Settings) -> None:
        self._engine = open_engine(settings)
        self._prepare = migrate if settings.database.migrate else require_current
        self._is_ready = False
        days = settings.records.retention_days
        self._retention = None if days is None else timedelta(days=days)
        self._next_prune = monotonic()

    def send(self, records: Sequence[Record]) -> None:
        """Store records; see `Sink.send`.

        Raises:
            SinkDown: the database cannot be reached, is locked or full, or has another revision.
            Refused: the tables cannot hold a value of a record.
        """
        try:
            if not self._is_ready:
                self._prepare(self._engine)
                self._is_ready = True
            reasons = self._store(records)
        except DatabaseError as error:
            raise SinkDown(str(error)) from error
        except DBAPIError as error:
            # When the database is back, its tables may be different.
            self._is_ready = False
            raise SinkDown(reason(error)) from error
        self._prune()
        if reasons:
            raise Refused(reasons)

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()

    def _prune(self) -> None:
        if self._retention is None or monotonic() < self._next_prune:
            return
        self._next_prune = monotonic() + PRUNE_SECONDS
        try:
            pruned = RecordStore(self._engine).prune(datetime.now(UTC) - self._retention)
        except DBAPIError as error:
            logger.warning("old records could not be deleted; the next try is in a day: %s", reason(error))
        else:
            logger.info("deleted %d old predictions and %d old feedbacks", pruned.predictions, pruned.feedback)

    def _store(self, records: Sequence[Record], start: int = 0) -> dict[int, str]:
        """Store records. A batch that is refused is halved until each invalid record is alone.

        Args:
            records: the records to store.
            start: position of the first record in the whole batch.

        Returns:
            Why records are refused, by position.

        Raises:
            DBAPIError: the database failed for another reason than the records.
        """
        try:
            with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
                insert(connection, records)
            return {}
        except (StatementError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, DBAPIError) and not _blames_the_records(error):
                raise
            if len(records) == 1:
                return {start: _why(error)}
        middle = len(records) // 2
        return self._store(records[:middle], start) | self._store(records[middle:], start + middle)


def _blames_the_records(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return False
    state: Any = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(REFUSING)
    # SQLite has no such codes. If it is full or locked, it raises an OperationalError instead of these.
    return type(error.orig).__name__ in ("IntegrityError", "DataError")


def _why(error: Exception) -> str:
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return reason(error) if isinstance(error, DBAPIError) else f"{type(cause).__name__}: {cause}"
