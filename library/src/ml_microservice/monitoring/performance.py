"""Live performance: the metrics of training, computed from predictions and their feedback.

This module imports scikit-learn and SQLAlchemy, so only commands and `monitoring.computation` import it, never a
process that serves.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np

from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.reader import read_manifest
from ml_microservice.artefact.store import ArtefactStore, model_store
from ml_microservice.errors import ArtefactError
from ml_microservice.evaluation import (
    Floats,
    Scores,
    calibration_bins,
    calibration_error,
    classification_scores,
    regression_scores,
)
from ml_microservice.monitoring.performance_result import CalibrationRow, FeedbackDelay, ModelPerformance, Performance
from ml_microservice.records.database.store import Counts, Judged, open_store
from ml_microservice.settings import Settings

MOST_JUDGED = 200_000
"""Most predictions with feedback that are evaluated. If there are more, a sample is taken."""


def performance(settings: Settings, window_seconds: float, model_version: str | None = None) -> dict[str, Any]:
    """The answer of `GET /monitoring/performance`: the result of `measure` for a window that ends now.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    until = datetime.now(UTC)
    measured = measure(settings, until - timedelta(seconds=window_seconds), until, model_version)
    return measured.model_dump(mode="json")


def measure(settings: Settings, since: datetime, until: datetime, model_version: str | None = None) -> Performance:
    """The performance of each model version that answered between two times.

    Raises:
        ServiceError: the database cannot be reached or used.
    """
    with open_store(settings) as store:
        counts = store.counts(since, until, model_version)
        judged = store.judged(since, until, model_version, MOST_JUDGED)
    judged.sort(key=lambda one: one.model_version)
    by_version = {version: list(rows) for version, rows in groupby(judged, key=lambda one: one.model_version)}
    artefacts = model_store(settings)
    return Performance(
        since=since.isoformat(timespec="milliseconds"),
        until=until.isoformat(timespec="milliseconds"),
        models=tuple(
            _of_version(version, count, by_version.get(version, []), _manifest(artefacts, version))
            for version, count in counts.items()
        ),
    )


def _of_version(version: str, count: Counts, judged: Sequence[Judged], manifest: Manifest | None) -> ModelPerformance:
    usable = [one for one in judged if isinstance(one.label, str) == isinstance(one.prediction, str)]
    notes = []
    if len(usable) < len(judged):
        notes.append(f"{len(judged) - len(usable)} labels are of another kind than the predictions: left out")
    if len(judged) == MOST_JUDGED:
        notes.append(f"a sample of {MOST_JUDGED} of the predictions that have feedback")
    metrics: Scores = {}
    calibration: tuple[CalibrationRow, ...] = ()
    error: float | None = None
    if usable and isinstance(usable[0].prediction, str):
        metrics, calibration, error = _classifier(usable, manifest, notes)
    elif usable:
        truth, predicted = (np.asarray(values, dtype=np.float64) for values in _pairs(usable))
        metrics = regression_scores(truth, predicted)
    return ModelPerformance(
        model_version=version,
        predictions=count.predictions,
        with_feedback=count.with_feedback,
        coverage=count.with_feedback / count.predictions,
        judged=len(usable),
        metrics=metrics,
        training_metrics=None if manifest is None else manifest.metrics,
        calibration=calibration,
        calibration_error=error,
        feedback_delay_seconds=_delay(judged),
        notes=tuple(notes),
    )


def _classifier(
    judged: Sequence[Judged], manifest: Manifest | None, notes: list[str]
) -> tuple[Scores, tuple[CalibrationRow, ...], float | None]:
    """Metrics, calibration table and calibration error of a classifier."""
    labels, answers = _pairs(judged)
    classes = list(() if manifest is None else manifest.classes)
    unknown = sorted({*labels, *answers} - set(classes))
    if manifest is not None and unknown:
        notes.append(f"labels that the model does not know count as wrong: {', '.join(unknown[:5])}")
    classes += unknown
    place = {name: index for index, name in enumerate(classes)}
    truth, predicted = (np.asarray([place[name] for name in names], dtype=np.intp) for names in (labels, answers))
    known = [one.probabilities or {} for one in judged]
    probabilities = _matrix(known, classes, 0 if manifest is None else len(unknown))
    if probabilities is None and any(known):
        notes.append("without the probabilities of all classes there is no log_loss: raise records.n_best")
    sure = [likely.get(name) for likely, name in zip(known, answers, strict=True)]
    has_chance = np.asarray([chance is not None for chance in sure])
    confidence = np.asarray([chance for chance in sure if chance is not None], dtype=np.float64)
    bins = calibration_bins(confidence, (predicted == truth)[has_chance])
    rows = tuple(CalibrationRow(**vars(item)) for item in bins)
    return classification_scores(truth, predicted, probabilities), rows, calibration_error(bins)


def _matrix(known: Sequence[dict[str, float]], classes: Sequence[str], unknown: int) -> Floats | None:
    """Probabilities of shape (n, classes); None if they are not recorded for all classes.

    The last `unknown` classes are not the model's and get 0. A single class that is not recorded gets the rest up to 1.
    """
    own = len(classes) - unknown
    if any(len(likely) < own - 1 or not likely for likely in known):
        return None
    matrix = np.asarray([[likely.get(name, np.nan) for name in classes] for likely in known], dtype=np.float64)
    matrix[:, own:] = 0.0
    left = np.clip(1 - np.nansum(matrix, axis=1), 0, 1)
    return np.where(np.isnan(matrix), left[:, None], matrix)


def _pairs(judged: Sequence[Judged]) -> tuple[list[Any], list[Any]]:
    return [one.label for one in judged], [one.prediction for one in judged]


def _delay(judged: Sequence[Judged]) -> FeedbackDelay | None:
    if not judged:
        return None
    moments = [(datetime.fromisoformat(one.received_at), datetime.fromisoformat(one.time)) for one in judged]
    seconds = np.asarray([(received - given).total_seconds() for received, given in moments])
    median, p90 = np.quantile(seconds, (0.5, 0.9))
    return FeedbackDelay(median=float(median), p90=float(p90))


def _manifest(artefacts: ArtefactStore, version: str) -> Manifest | None:
    try:
        return read_manifest(artefacts.path(version))
    except ArtefactError:
        return None
