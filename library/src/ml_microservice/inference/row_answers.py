"""Answers to single rows that shared a call: stamped, recorded and counted together, before anybody is told.

One write to the journal for all of them costs little more than one for a single row.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.predictor import Prediction
from ml_microservice.inference.problems import record_not_stored
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.recorder import ModelRecorder
from ml_microservice.records.syncing import NotStored, Sync
from ml_microservice.tracing.current import Span

Observe = Callable[[ServedModel, Sequence[str | float]], None]


class Asked(NamedTuple):
    """A row that somebody waits for."""

    row: Row
    route: str
    """How it was asked for."""
    started: float
    """When the request came, by `perf_counter`."""
    span: Span | None = None
    """Of the request, if it is traced."""


class RowAnswer(NamedTuple):
    """The answer to one row."""

    value: str | float
    probabilities: dict[str, float] | None
    prediction_id: str
    time: str
    is_logged: bool = True
    """Whether it is recorded, if it has to be."""
    stored: Sync | None = None
    """What to await before it is given."""

    def alone(self, row: Row) -> AnswerTable:
        """As the answers to many rows."""
        probabilities = None if self.probabilities is None else np.asarray([[*self.probabilities.values()]])
        return AnswerTable([self.value], probabilities, {}, [self.prediction_id], [row.entity_id], self.is_logged)


class RowAnswers:
    """Makes the answers of one model.

    Args:
        served: the model.
        records: of its predictions; None if they are not recorded.
        stamps: of the process.
        observe: told of the values.
    """

    def __init__(self, served: ServedModel, records: ModelRecorder | None, stamps: Stamps, observe: Observe) -> None:
        self._served = served
        self._classes = served.schema.classes
        self._records = records
        self._stamps = stamps
        self._observe = observe

    def of(self, asked: Sequence[Asked], answers: Sequence[Prediction | Exception]) -> list[RowAnswer | Exception]:
        """What to tell those who asked, in order: an answer, what the model raised, or why none may be given."""
        time, classes, new_id = self._stamps.now(), self._classes, self._stamps.new_id
        told: list[RowAnswer | Exception] = []
        for answer in answers:
            if isinstance(answer, Exception):
                told.append(answer)
                continue
            value, listed = answer
            probabilities = None if listed is None else dict(zip(classes, listed, strict=True))
            told.append(RowAnswer(value, probabilities, new_id(), time))
        if self._records is not None:
            told = self._recorded(self._records, asked, told, time.encode())
        if values := [answer.value for answer in told if isinstance(answer, RowAnswer)]:
            self._observe(self._served, values)
        return told

    def _recorded(
        self, records: ModelRecorder, asked: Sequence[Asked], told: list[RowAnswer | Exception], time: bytes
    ) -> list[RowAnswer | Exception]:
        """The same answers once they are in the journal; those that are not say so, or are none."""
        now = perf_counter()
        lines = [
            records.line(
                route,
                time,
                (now - started) * 1000,
                answer.prediction_id,
                row.entity_id,
                row.values,
                answer.value,
                answer.probabilities,
            )
            for (row, route, started, _), answer in zip(asked, told, strict=True)
            if isinstance(answer, RowAnswer)
        ]
        if not lines:
            return told
        try:
            stored = records.keep(lines)
        except NotStored as failed:
            return [self._unlogged(records, failed, answer) for answer in told]
        return told if stored is None else [_with_sync(answer, stored) for answer in told]

    @staticmethod
    def _unlogged(records: ModelRecorder, failed: NotStored, answer: RowAnswer | Exception) -> RowAnswer | Exception:
        if isinstance(answer, Exception):
            return answer
        return answer._replace(is_logged=False) if records.may_skip(1) else record_not_stored(failed.reason)


def _with_sync(answer: RowAnswer | Exception, stored: Sync) -> RowAnswer | Exception:
    """An answer that waits for the disk."""
    return answer if isinstance(answer, Exception) else answer._replace(stored=stored)
