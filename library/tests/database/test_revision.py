"""The tables are those that the code works with, and a database that is not says so."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from ml_microservice.database.columns import metadata
from ml_microservice.database.engine import open_engine
from ml_microservice.database.revision import migrate, newest, require_current
from ml_microservice.errors import ConfigError, DatabaseError
from ml_microservice.jobs.store import tables as _jobs  # noqa: F401
from ml_microservice.records.database import tables as _records  # noqa: F401
from ml_microservice.settings import Settings, load_settings


def test_the_migrations_make_the_tables_that_the_code_works_with(database_settings: Settings) -> None:
    engine = open_engine(database_settings)
    assert migrate(engine) is None
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {
            "alembic_version",
            "predictions",
            "feedback",
            "jobs",
            "job_chunks",
        }
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        connection.execute(text("DROP INDEX predictions_time"))
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []  # it would be seen


def test_migrating_again_changes_nothing(database_settings: Settings) -> None:
    engine = open_engine(database_settings)
    migrate(engine)
    assert migrate(engine) == newest()
    require_current(engine)


def test_of_processes_that_start_together_one_migrates(database_settings: Settings) -> None:
    faults: list[Exception] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        engine = open_engine(database_settings)
        barrier.wait()
        try:
            migrate(engine)
        except Exception as error:
            faults.append(error)
        engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    require_current(open_engine(database_settings))


def test_a_database_of_another_revision_is_an_error_that_says_what_to_do(database_settings: Settings) -> None:
    engine = open_engine(database_settings)
    with pytest.raises(DatabaseError, match=r"revision none.*service records migrate"):
        require_current(engine)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (migrate, require_current):
        with pytest.raises(DatabaseError, match=r"9999.*a newer service has changed it"):
            act(engine)


def test_a_sqlite_file_is_relative_to_the_project_and_safe_against_power_loss(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: houses\ndatabase: {url: sqlite:///data/of/mine.db}\n")
    engine = open_engine(load_settings(tmp_path, {}))
    migrate(engine)
    assert (tmp_path / "data/of/mine.db").is_file()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/name", "'mysql', which is not supported"),
        ("records.db", "is not a database URL"),
        ("sqlite://", "names no file"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_of_the_configuration(tmp_path: Path, url: str, words: str) -> None:
    (tmp_path / "config.yaml").write_text("name: houses\n")
    with pytest.raises(ConfigError, match=words):
        open_engine(load_settings(tmp_path, {"SERVICE__DATABASE__URL": url}))


def test_the_password_is_the_secret_s() -> None:
    settings = Settings.model_validate({"name": "houses", "database": {"url": "postgresql://user@host/name"}})
    secret = settings.database.model_validate({"url": settings.database.url, "password": "s3cret"})
    engine = open_engine(settings.model_copy(update={"database": secret}))
    assert engine.url.password == "s3cret"
    assert engine.url.drivername == "postgresql+psycopg"
