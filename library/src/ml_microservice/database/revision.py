"""The revision of the tables: which one a database has, and bringing it to the one that this code needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from ml_microservice.errors import DatabaseError, Fault

SCRIPTS = Path(__file__).with_name("migrations")
LOCK = 0x7265636F726473
"""Number of the advisory lock ("records" in ASCII): of processes that start together, one migrates."""


def migrate(engine: Engine) -> str | None:
    """Bring the tables up to date, in one transaction; of several processes, one does it and the others wait.

    Returns:
        The revision that the database had before; None if it was empty.

    Raises:
        DatabaseError: the database is of a newer revision than this code.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    with engine.connect() as connection:
        before = revision(connection)
    if before == newest():
        return before
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        before = revision(connection)
        _require_known(before)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before


def require_current(engine: Engine) -> None:
    """See that the tables are those that this code needs.

    Raises:
        DatabaseError: they are of an older or a newer revision.
    """
    with engine.connect() as connection:
        found = revision(connection)
    _require_known(found)
    if found != newest():
        message = f"the database is of revision {found or 'none'}, this code needs {newest()}"
        raise DatabaseError(Fault(message, advice="run 'ml-service records migrate'"))


def revision(connection: Connection) -> str | None:
    """The revision that a database is of; None if it has no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory(str(SCRIPTS)).get_current_head()
    assert head is not None
    return head


def _require_known(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}
    if found is not None and found not in known:
        message = f"the database is of revision {found}, which this code does not know: a newer service has changed it"
        raise DatabaseError(Fault(message, advice="deploy that service again, or restore the database from before"))
