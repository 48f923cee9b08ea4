"""The sink `database`: records as rows of SQLite or PostgreSQL, all or none in a transaction."""

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
"""Classes of PostgreSQL's errors that name the data: wrong values, broken constraints, limits of size."""

PRUNE_SECONDS = 24 * 3600
"""Time between two looks for records that are older than `records.retention_days`."""


class DatabaseSink:
    """Writes to `database.url`; the tables are made or brought up to date before the first record.

    Once a day, after records that it has stored, it deletes those that are older than `records.retention_days`.

    Args:
        settings: the project's.

    Raises:
        ConfigError: the database is of no kind that is supported.
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
        """See `Sink.send`.

        Raises:
            SinkDown: the database cannot be reached, is locked, full, or of another revision.
            Refused: a record holds what its tables cannot.
        """
        try:
            if not self._is_ready:
                self._prepare(self._engine)
                self._is_ready = True
            reasons = self._stored(records)
        except DatabaseError as error:
            raise SinkDown(str(error)) from error
        except DBAPIError as error:
            # The tables may be others when it comes back.
            self._is_ready = False
            raise SinkDown(reason(error)) from error
        self._prune()
        if reasons:
            raise Refused(reasons)

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    def _prune(self) -> None:
        if self._retention is None or monotonic() < self._next_prune:
            return
        self._next_prune = monotonic() + PRUNE_SECONDS
        try:
            pruned = RecordStore(self._engine).prune(datetime.now(UTC) - self._retention)
        except DBAPIError as error:
            logger.warning("old records could not be deleted, which is tried again in a day: %s", reason(error))
        else:
            logger.info("deleted %d old predictions and %d old feedbacks", pruned.predictions, pruned.feedback)

    def _stored(self, records: Sequence[Record], start: int = 0) -> dict[int, str]:
        """Store records, halving what is refused until those that are to blame stand alone.

        Args:
            records: to store.
            start: position of the first of them in what was sent.

        Returns:
            Why records are refused, by position.

        Raises:
            DBAPIError: for another cause than the records.
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
        return self._stored(records[:middle], start) | self._stored(records[middle:], start + middle)


def _blames_the_records(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return False
    state: Any = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(REFUSING)
    # SQLite's drivers know two of these by their class; a database that is full or locked is an OperationalError.
    return type(error.orig).__name__ in ("IntegrityError", "DataError")


def _why(error: Exception) -> str:
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return reason(error) if isinstance(error, DBAPIError) else f"{type(cause).__name__}: {cause}"
