"""From settings to a database engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ml_microservice.errors import ConfigError, DatabaseError, Fault
from ml_microservice.extras import how_to_install
from ml_microservice.settings import CONFIG_FILE, Settings

CONNECT_SECONDS = 10
SILENT_SECONDS = 30
"""Time without an answer after which a connection to a server counts as lost."""
BUSY_SECONDS = 30
"""Time that SQLite waits for another process to finish writing."""


def open_engine(settings: Settings) -> Engine:
    """The engine of `database.url`; no connection is made yet.

    Raises:
        ConfigError: the URL names no supported database, or its driver is not installed.
    """
    try:
        url = make_url(settings.database.url)
    except ArgumentError:
        raise _wrong_url("is not a database URL") from None
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(settings, url)
        case "postgresql" | "postgres":
            return _postgresql(settings, url)
        case other:
            raise _wrong_url(f"is of {other!r}, which is not supported")


@contextmanager
def reported(engine: Engine) -> Iterator[None]:
    """Turn an error of the database into one that names the database, for the person who runs a command.

    Raises:
        DatabaseError: the database raised an error in the block.
    """
    try:
        yield
    except DBAPIError as error:
        place = engine.url.render_as_string(hide_password=True)
        advice = "see that it runs, and look at database.url in config.yaml and SERVICE__DATABASE__PASSWORD"
        raise DatabaseError(Fault(f"{place}: {reason(error)}", advice=advice)) from error


def reason(error: DBAPIError) -> str:
    """The reason of a database error in one line, without the rows that were sent."""
    diagnosis = getattr(error.orig, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    return primary or (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]


def _sqlite(settings: Settings, url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise _wrong_url("names no file")
    path = settings.root / url.database
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(Fault(f"the folder of {url.database} cannot be made: {error.strerror}")) from None
    engine = create_engine(
        url.set(database=str(path)),
        json_deserializer=orjson.loads,
        connect_args={"timeout": BUSY_SECONDS},
    )
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: Any, record: Any) -> None:
    # Transactions are begun explicitly: Python's module would leave CREATE TABLE outside of them.
    connection.isolation_level = None
    # Readers do not wait for writers.
    connection.execute("PRAGMA journal_mode = WAL")
    # With NORMAL, a power loss may undo the last commits, whose local files may be deleted already. A sync per batch
    # costs little compared with the batch.
    connection.execute("PRAGMA synchronous = FULL")


def _on_sqlite_begin(connection: Connection) -> None:
    # A transaction that will write says so at once: two that read before they write would block each other.
    is_writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _postgresql(settings: Settings, url: URL) -> Engine:
    password = settings.database.password
    if password is not None:
        url = url.set(password=password.get_secret_value())
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            json_deserializer=orjson.loads,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": SILENT_SECONDS,
                "tcp_user_timeout": SILENT_SECONDS * 1000,
                # Prepared statements do not survive the poolers that people put before PostgreSQL.
                "prepare_threshold": None,
            },
        )
    except ModuleNotFoundError:
        message, advice = "PostgreSQL needs psycopg, which is not installed", how_to_install("postgres")
        raise ConfigError(Fault(message, file=CONFIG_FILE, advice=advice)) from None


def _wrong_url(what: str) -> ConfigError:
    advice = "write sqlite:///var/records.db or postgresql+psycopg://user@host:5432/name"
    return ConfigError(Fault(f"database.url {what}", file=CONFIG_FILE, advice=advice))
