"""Compares a window of records with the reference of the model that answered them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Any, Protocol

import numpy as np

from ml_microservice.artefact.reference import Reference, Values
from ml_microservice.monitoring.drift.kinds import COMPARISONS, measures_of, missing_measure
from ml_microservice.monitoring.drift.pictures import missing_picture, pictures_of
from ml_microservice.monitoring.drift.result import Drift, DriftReport, Measure, Picture, Status
from ml_microservice.monitoring.drift.sentences import finding
from ml_microservice.monitoring.values import present
from ml_microservice.settings import MonitoringSettings

EVEN_CHANCE = 0.5
"""Level of the limits within parts. A lasting change must show in them again, but need not be proved again."""
NEAR = 0.8
"""Share of its limit from which on a measure is mentioned."""
RANK: dict[Status, int] = {"drift": 0, "passing": 1, "stable": 2, "too_few_rows": 3}


class Records(Protocol):
    """Recorded predictions of one model version in columns, as the record store returns them."""

    @property
    def inputs(self) -> Mapping[str, Sequence[Any]]:
        """Values by feature; None where a value is missing."""

    @property
    def predictions(self) -> Sequence[str | float]:
        """The predicted classes or numbers."""

    @property
    def probabilities(self) -> Sequence[Mapping[str, float] | None]:
        """Probabilities by class, for the likeliest classes."""

    @property
    def times(self) -> Sequence[str]:
        """Times of the predictions: ISO 8601."""

    @property
    def count(self) -> int:
        """Number of predictions in the window. The columns may hold a sample of them."""


@dataclass(frozen=True)
class Window:
    """The records that are compared: a model version in a period of time."""

    project: str
    model_version: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class _Subject:
    """A feature, the predictions or the confidence, with its reference."""

    name: str
    role: Any
    type: str
    reference: Values | None
    missing: tuple[int, int] | None
    """Missing rows and all rows in training; None where values cannot be missing."""
    column: Sequence[Any]

    @property
    def comparisons(self) -> int:
        return (COMPARISONS[self.reference.kind] if self.reference else 0) + (self.missing is not None)

    def measures(self, level: float, settings: MonitoringSettings, part: Sequence[int] | None = None) -> list[Measure]:
        """Compare all rows; or the rows of a part of the window, by the measures that may raise an alarm."""
        column = self.column if part is None else [self.column[row] for row in part]
        values = present(column)
        measures: list[Measure] = []
        if self.reference:
            is_part = part is not None
            measures = measures_of(self.reference, self.type, values, level, settings, only_alarming=is_part)
        if self.missing is not None and column:
            missing = len(column) - len(values)
            measures.append(missing_measure(missing, len(column), self.missing, level, settings.missing))
        return measures


def compare(reference: Reference, records: Records, window: Window, settings: MonitoringSettings) -> DriftReport:
    """Find out what has changed since training.

    The allowed rate of false alarms is divided by the number of measures that may raise an alarm (Bonferroni). It
    therefore holds for the window as a whole, even if features are correlated.
    """
    subjects = list(_subjects(reference, records))
    level = settings.false_alarm_rate / max(1, sum(subject.comparisons for subject in subjects))
    parts = _parts(records.times, settings)
    drifts = [_drift(subject, parts, level, settings) for subject in subjects if len(subject.column)]
    drifts.sort(key=lambda drift: (drift.ignored, RANK[drift.status], -drift.severity, drift.name))
    judged = [drift.status for drift in drifts if not drift.ignored] or ["too_few_rows"]
    return DriftReport(
        project=window.project,
        model_version=window.model_version,
        since=window.since,
        until=window.until,
        recorded=records.count,
        rows=len(records.predictions),
        status=min(judged, key=lambda status: RANK[status]),
        level=level,
        drifts=tuple(drifts),
        not_compared=_not_compared(reference, records),
    )


def _subjects(reference: Reference, records: Records) -> Iterator[_Subject]:
    for name, feature in reference.features.items():
        if name in records.inputs:
            missing = (feature.missing, feature.rows)
            yield _Subject(name, "feature", feature.type, feature.values, missing, records.inputs[name])
    kind = reference.predictions.kind
    yield _Subject("prediction", "prediction", kind, reference.predictions, None, records.predictions)
    if reference.confidence is not None:
        confidence = [max(likely.values()) if likely else None for likely in records.probabilities]
        yield _Subject("confidence", "confidence", "number", reference.confidence, None, confidence)


def _parts(times: Sequence[str], settings: MonitoringSettings) -> list[list[int]]:
    """The rows of each part of the window, in parts of equal duration. Parts with too few rows are left out."""
    seconds = np.asarray([datetime.fromisoformat(time).timestamp() for time in times])
    if not len(seconds):
        return []
    width = (float(np.ptp(seconds)) or 1.0) / settings.parts
    places = np.minimum((seconds - seconds.min()) / width, settings.parts - 1).astype(int)
    parts = [np.flatnonzero(places == part).tolist() for part in range(settings.parts)]
    return [part for part in parts if len(part) >= ceil(settings.min_rows / settings.parts)]


def _drift(subject: _Subject, parts: Sequence[list[int]], level: float, settings: MonitoringSettings) -> Drift:
    values = present(subject.column)
    rows = len(subject.column)
    in_parts = [{measure.name: measure for measure in subject.measures(EVEN_CHANCE, settings, part)} for part in parts]
    measures = [
        _with_parts(measure, [part[measure.name] for part in in_parts if measure.name in part])
        for measure in subject.measures(level, settings)
    ]
    status = _status(measures, rows, settings)
    missing = (subject.missing[0] / max(1, subject.missing[1]) if subject.missing else 0.0, 1 - len(values) / rows)
    return Drift(
        name=subject.name,
        role=subject.role,
        type=subject.type,
        status=status,
        sentence=_sentence(subject, status, measures, values, missing, settings),
        rows=rows,
        missing=missing[1],
        ignored=subject.role == "feature" and subject.name in settings.ignore,
        measures=tuple(measures),
        pictures=_pictures(subject, values, measures, missing),
    )


def _pictures(
    subject: _Subject, values: Sequence[Any], measures: Sequence[Measure], missing: tuple[float, float]
) -> tuple[Picture, ...]:
    pictures = pictures_of(subject.reference, subject.type, values) if subject.reference and values else ()
    if any(measure.name == "missing" and measure.ratio > NEAR for measure in measures):
        return missing_picture(*missing), *pictures
    return pictures


def _with_parts(measure: Measure, in_parts: Sequence[Measure]) -> Measure:
    if measure.limit is None:
        return measure
    return replace(measure, parts=len(in_parts), parts_beyond=sum(part.ratio > 1 for part in in_parts))


def _status(measures: Sequence[Measure], rows: int, settings: MonitoringSettings) -> Status:
    if rows < settings.min_rows:
        return "too_few_rows"
    beyond = [measure for measure in measures if measure.ratio > 1]
    if any(lasts(measure, settings) for measure in beyond):
        return "drift"
    return "passing" if beyond else "stable"


def lasts(measure: Measure, settings: MonitoringSettings) -> bool:
    """Whether a measure exceeds its limit in enough parts of the window, or in all if there are fewer."""
    return measure.parts_beyond >= min(settings.persistent_parts, measure.parts)


def _sentence(
    subject: _Subject,
    status: Status,
    measures: Sequence[Measure],
    values: Sequence[Any],
    missing: tuple[float, float],
    settings: MonitoringSettings,
) -> str:
    if status == "too_few_rows":
        return "Too few rows to tell."
    measured = [measure for measure in measures if measure.limit is not None]
    if not measured:
        return "Too few values to compare."
    lasting = [measure for measure in measured if lasts(measure, settings)] if status == "drift" else measured
    worst = max(lasting, key=lambda measure: measure.ratio)
    if status == "stable":
        if len(measured) == 1:
            return "Too few values to compare; about as many are missing."
        if worst.ratio < NEAR:
            return "As in training."
    words = finding(worst, subject.reference, subject.type, subject.role, values, missing)
    if status == "stable":
        words += " That is still within its limit."
    if status == "passing":
        words += f" But only in {worst.parts_beyond} of {worst.parts} parts of the window."
    return words


def _not_compared(reference: Reference, records: Records) -> dict[str, str]:
    personal = dict.fromkeys(reference.personal, "personal data, of which training keeps no reference")
    absent = [name for name in reference.features if name not in records.inputs] if records.count else []
    return {**personal, **dict.fromkeys(absent, "not among the recorded inputs")}
