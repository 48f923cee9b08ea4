"""Answers to single rows that share one call of the model: predicted together, then stamped and recorded together.

One write to the journal for all of them costs little more than one for a single row.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.predictor import Prediction, predict_each
from ml_microservice.inference.problems import record_not_stored
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.disk_sync import DiskSync, NotStored
from ml_microservice.records.recorder import ModelRecorder
from ml_microservice.tracing.current_span import Span
from ml_microservice.tracing.model_call import shared_model_call

Observe = Callable[[ServedModel, Sequence[str | float]], None]
"""Takes the values that a model predicted, some at a time."""


class RowRequest(NamedTuple):
    """A request for the prediction of one row."""

    row: Row
    route: str
    """The route that the record names."""
    started: float
    """When the request came, by `perf_counter`."""
    span: Span | None = None
    """The request's span, if it is traced."""


class RowAnswer(NamedTuple):
    """The answer to one row."""

    value: str | float
    probabilities: dict[str, float] | None
    prediction_id: str
    time: str
    is_logged: bool = True
    """Whether the prediction is recorded, if it has to be."""
    stored: DiskSync | None = None
    """What to await before the answer is given."""

    def as_table(self, row: Row) -> AnswerTable:
        """The same answer as a table of one row."""
        probabilities = None if self.probabilities is None else np.asarray([[*self.probabilities.values()]])
        return AnswerTable([self.value], probabilities, {}, [self.prediction_id], [row.entity_id], self.is_logged)


class RowAnswerer:
    """Answers the rows of one micro-batch with one model.

    Args:
        served: the model.
        records: records its predictions; None if they are not recorded.
        stamps: gives ids and times.
        observe: takes the values that were answered.
        is_traced: whether requests may have spans.
    """

    def __init__(
        self,
        served: ServedModel,
        records: ModelRecorder | None,
        stamps: Stamps,
        observe: Observe,
        *,
        is_traced: bool = False,
    ) -> None:
        self.served = served
        self._classes = served.schema.classes
        self._records = records
        self._stamps = stamps
        self._observe = observe
        self._is_traced = is_traced

    def predict(self, requests: Sequence[RowRequest]) -> list[Prediction | Exception]:
        """Call the model once for all rows; may run in a thread.

        Returns:
            For each row its prediction, or what the model raised for it.
        """
        columns = self.served.columns([request.row for request in requests])
        if self._is_traced and (spans := [request.span for request in requests if request.span is not None]):
            with shared_model_call(spans, self.served.manifest.version, len(requests)):
                return predict_each(self.served.predictor, columns)
        return predict_each(self.served.predictor, columns)

    def answer(
        self, requests: Sequence[RowRequest], predictions: Sequence[Prediction | Exception]
    ) -> list[RowAnswer | Exception]:
        """Turn model outputs into recorded answers; runs on the event loop.

        Returns:
            For each row its answer, what the model raised for it, or why no answer may be given.
        """
        time, classes, new_id = self._stamps.now(), self._classes, self._stamps.new_id
        answers: list[RowAnswer | Exception] = []
        for prediction in predictions:
            if isinstance(prediction, Exception):
                answers.append(prediction)
                continue
            value, listed = prediction
            probabilities = None if listed is None else dict(zip(classes, listed, strict=True))
            answers.append(RowAnswer(value, probabilities, new_id(), time))
        if self._records is not None:
            answers = self._recorded(self._records, requests, answers, time.encode())
        if values := [answer.value for answer in answers if isinstance(answer, RowAnswer)]:
            self._observe(self.served, values)
        return answers

    def _recorded(
        self,
        records: ModelRecorder,
        requests: Sequence[RowRequest],
        answers: list[RowAnswer | Exception],
        time: bytes,
    ) -> list[RowAnswer | Exception]:
        """The answers once the journal has them; an answer that it refused is marked as unlogged, or is a problem."""
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
            for (row, route, started, _), answer in zip(requests, answers, strict=True)
            if isinstance(answer, RowAnswer)
        ]
        if not lines:
            return answers
        try:
            stored = records.keep(lines)
        except NotStored as failed:
            return [_unlogged(records, failed, answer) for answer in answers]
        return answers if stored is None else [_with_sync(answer, stored) for answer in answers]


def _unlogged(records: ModelRecorder, failed: NotStored, answer: RowAnswer | Exception) -> RowAnswer | Exception:
    """The answer without a record, where the settings allow it."""
    if isinstance(answer, Exception):
        return answer
    return answer._replace(is_logged=False) if records.may_skip(1) else record_not_stored(failed.reason)


def _with_sync(answer: RowAnswer | Exception, stored: DiskSync) -> RowAnswer | Exception:
    """The answer, to be given once the disk has its record."""
    return answer if isinstance(answer, Exception) else answer._replace(stored=stored)
