"""Measures the drift of a window of predictions in the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ml_microservice.artefact.reader import read_artefact
from ml_microservice.artefact.reference import Reference, read_reference
from ml_microservice.artefact.store import version_folder
from ml_microservice.errors import ConfigError, Fault, did_you_mean
from ml_microservice.monitoring.drift.comparison import Window, compare
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.records.database.store import open_store
from ml_microservice.settings import CONFIG_FILE, Settings


def measure_drift(
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
    model_version: str | None = None,
) -> DriftReport:
    """Compare the predictions of a model version in a window of time with its training data.

    Args:
        settings: the project's settings.
        since: start of the window; `monitoring.window_hours` before its end by default.
        until: its end, exclusive; now by default.
        model_version: the version that is served, by default.

    Raises:
        ArtefactError: there is no such model, or it has no reference.
        ConfigError: `monitoring.ignore` names what is no feature, or the database cannot be used.
        DatabaseError: the database cannot be reached.
    """
    until = until or datetime.now(UTC)
    since = since or until - timedelta(hours=settings.monitoring.window_hours)
    folder = version_folder(settings, model_version)
    artefact = read_artefact(folder, settings.name)
    version = artefact.manifest.version
    reference = read_reference(artefact.files, version)
    _check_ignored(reference, settings)
    with open_store(settings) as store:
        records = store.window(since, until, version, settings.monitoring.max_rows)
    return compare(reference, records, Window(settings.name, version, since, until), settings.monitoring)


def drift_document(settings: Settings, window_seconds: float, model_version: str) -> dict[str, Any]:
    """The answer of `GET /monitoring/drift`: the result of `measure_drift` for a window that ends now."""
    until = datetime.now(UTC)
    report = measure_drift(settings, until - timedelta(seconds=window_seconds), until, model_version)
    document: dict[str, Any] = orjson.loads(report.to_bytes())
    return document


def _check_ignored(reference: Reference, settings: Settings) -> None:
    known = [*reference.features, *reference.personal]
    faults = [
        Fault(f"monitoring.ignore names {name!r}, which is no feature", CONFIG_FILE, advice=did_you_mean(name, known))
        for name in settings.monitoring.ignore
        if name not in known
    ]
    if faults:
        raise ConfigError(*faults)
