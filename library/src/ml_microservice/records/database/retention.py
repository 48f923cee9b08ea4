"""Forgetting records in time."""

from datetime import UTC, datetime, timedelta

from ml_microservice.records.database.store import Pruned, open_store
from ml_microservice.settings import Settings


def prune_expired(settings: Settings) -> Pruned | None:
    """Delete what is older than `records.retention_days`; None if nothing is to be deleted, ever.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    days = settings.records.retention_days
    return None if days is None else prune_older(settings, timedelta(days=days))


def prune_older(settings: Settings, age: timedelta) -> Pruned:
    """Delete predictions of this age and their feedback.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    with open_store(settings) as store:
        return store.prune(datetime.now(UTC) - age)
