"""Deletes records that are older than a retention period."""

from datetime import UTC, datetime, timedelta

from ml_microservice.records.database.store import Pruned, open_store
from ml_microservice.settings import Settings


def prune_expired(settings: Settings) -> Pruned | None:
    """Delete records older than `records.retention_days`. Returns None if that is not set.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    days = settings.records.retention_days
    return None if days is None else prune_older(settings, timedelta(days=days))


def prune_older(settings: Settings, age: timedelta) -> Pruned:
    """Delete predictions older than an age, and their feedback.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    with open_store(settings) as store:
        return store.prune(datetime.now(UTC) - age)
