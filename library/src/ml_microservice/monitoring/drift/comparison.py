"""A window of records against the reference of the model that answered them."""

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
"""Level of the limits within parts: persistence asks for the effect once more, not for proof once more."""
NEAR = 0.8
"""Share of its limit from which on a measure is worth a sentence."""
RANK: dict[Status, int] = {"drift": 0, "passing": 1, "stable": 2, "too_few_rows": 3}


class Records(Protocol):
    """Recorded predictions of one model version, by columns, as the record store has them."""

    @property
    def inputs(self) -> Mapping[str, Sequence[Any]]:
        """By feature; None where a value is missing."""

    @property
    def predictions(self) -> Sequence[str | float]:
        """Names of classes, or numbers."""

    @property
    def probabilities(self) -> Sequence[Mapping[str, float] | None]:
        """Of the likeliest classes."""

    @property
    def times(self) -> Sequence[str]:
        """ISO 8601."""

    @property
    def count(self) -> int:
        """Predictions in the window, of which these may be only some."""


@dataclass(frozen=True)
class Window:
    """Whose records were taken, and from when."""

    project: str
    model_version: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class _Subject:
    """One thing to compare."""

    name: str
    role: Any
    type: str
    reference: Values | None
    missing: tuple[int, int] | None
    """Missing and all rows in training; None where nothing can be missing."""
    column: Sequence[Any]

    @property
    def comparisons(self) -> int:
        return (COMPARISONS[self.reference.kind] if self.reference else 0) + (self.missing is not None)

    def measures(self, rows: Sequence[int] | None, level: float, settings: MonitoringSettings) -> list[Measure]:
        """Of some rows, or of all."""
        column = self.column if rows is None else [self.column[row] for row in rows]
        values = present(column)
        measures = measures_of(self.reference, self.type, values, level, settings) if self.reference else []
        if self.missing is not None and column:
            missing = len(column) - len(values)
            measures.append(missing_measure(missing, len(column), self.missing, level, settings.missing))
        return measures


def compare(reference: Reference, records: Records, window: Window, settings: MonitoringSettings) -> DriftReport:
    """What has changed since training.

    The rate of false alarms that the settings allow is shared out evenly among all measures that may raise an alarm
    (Bonferroni), so that it holds for the window as a whole, however the features hang together.
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
    """The rows of each part of equal time between the first and the last record; small parts are left out."""
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
    in_parts = [{measure.name: measure for measure in subject.measures(part, EVEN_CHANCE, settings)} for part in parts]
    measures = [
        _with_parts(measure, [part[measure.name] for part in in_parts if measure.name in part])
        for measure in subject.measures(None, level, settings)
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
    """Whether what a measure shows in the window shows in enough of its parts, or in all where there are fewer."""
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
