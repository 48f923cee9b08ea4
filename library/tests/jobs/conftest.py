"""A store of jobs on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.settings import Settings
from tests.jobs.stored_jobs import Clock, open_store


@pytest.fixture
def clock() -> Clock:
    """The time of the store."""
    return Clock()


@pytest.fixture
def store(database_settings: Settings, clock: Clock) -> Iterator[JobStore]:
    """An empty store."""
    store = open_store(database_settings, clock)
    yield store
    store.close()
