"""The core of the service: bytes in, bytes out, whatever carries them."""

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import orjson

from ml_microservice.features.columns import Columns, without
from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.bulk_formats import JSON, BulkFormat
from ml_microservice.inference.bulk_response import SLICE_ROWS, BulkResponse, heading_of, written
from ml_microservice.inference.feedback import FeedbackDesk, nothing_recorded
from ml_microservice.inference.predictor import Predictions, predict_columns
from ml_microservice.inference.problems import Problem, model_failed, record_not_stored, refused_by_model
from ml_microservice.inference.responder import Keep, Serving, kept, provenance_of
from ml_microservice.inference.row_answers import Asked, RowAnswer
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.recorder import Call, Recorder
from ml_microservice.records.syncing import NotStored
from ml_microservice.settings import ApiSettings
from ml_microservice.tracing.current import CURRENT
from ml_microservice.tracing.model_call import model_call

logger = logging.getLogger(__name__)

Observer = Callable[[ServedModel, Sequence[str | float]], None]
"""Told of all values that were answered, some at a time; what it raises is logged and changes no answer."""


def nobody_hangs_up() -> bool:
    """For callers that cannot go away."""
    return False


class Core:
    """Answers requests with the model that is served at the moment.

    Calls are made from one event loop; each takes the served model once and stays with it.
    """

    def __init__(
        self,
        served: ServedModel,
        limits: ApiSettings,
        *,
        observers: Iterable[Observer] = (),
        recorder: Recorder | None = None,
        is_traced: bool = False,
    ) -> None:
        self._is_traced = is_traced
        self._recorder = recorder
        self._limits = limits
        self._observers = tuple(observers)
        self._stamps = Stamps()
        self._feedback = None if recorder is None else FeedbackDesk(recorder.journal, limits.max_batch_rows)
        self.serve(served)

    def serve(self, served: ServedModel) -> None:
        """Answer with this model from now on."""
        self.served = served
        self._serving = Serving.of(served, self._limits, self._recorder, self._stamps, self._observe, self._is_traced)

    def check(self) -> None:
        """See that predictions can be answered at the moment.

        Raises:
            Problem: their records cannot be stored, and without them none is answered.
        """
        if self._recorder is not None:
            try:
                self._recorder.check()
            except NotStored as failed:
                raise record_not_stored(failed.reason) from None

    async def predict(
        self, body: bytes, is_gone: Callable[[], bool] = nobody_hangs_up, started: float | None = None
    ) -> bytes:
        """Answer one JSON object of features.

        Args:
            body: the object.
            is_gone: whether the caller has hung up, so that nothing needs to be computed.
            started: when the request came, by `perf_counter`; now by default.

        Raises:
            Problem: the request breaks a rule, the model cannot answer it, or the answer cannot be recorded.
        """
        started = perf_counter() if started is None else started
        serving = self._serving
        served = serving.served
        row = served.row(body)
        answer = await self._answer_row(serving, "predict", started, row, is_gone)
        document: dict[str, Any] = {"prediction": answer.value}
        if answer.probabilities is not None:
            document["probabilities"] = answer.probabilities
        document["prediction_id"] = answer.prediction_id
        if row.entity_id is not None and served.id_name is not None:
            document[served.id_name] = row.entity_id
        if not answer.is_logged:
            document["logged"] = False
        return b'%b%b"%b"}' % (orjson.dumps(document)[:-1], serving.provenance, answer.time.encode())

    async def feedback(self, body: bytes) -> bytes:
        """Take feedback to predictions: a JSON object, or a list of them.

        Raises:
            Problem: it breaks a rule, or cannot be stored.
        """
        if self._feedback is None:
            raise nothing_recorded()
        return await self._feedback.take(self.served, body)

    async def predict_batch(self, body: bytes) -> bytes:
        """Answer a JSON list of objects by one document; see `predict_bulk`."""
        return await (await self.predict_bulk(body)).body()

    async def predict_bulk(self, body: bytes, sent: BulkFormat = JSON, wanted: BulkFormat = JSON) -> BulkResponse:
        """Answer many rows; a row that fails is answered by its problem and fails alone.

        Args:
            body: the rows.
            sent: the format of the body.
            wanted: the format of the answer.

        Raises:
            Problem: the body is not of its format, has too many rows, or the answers cannot be recorded. Where only
                part of a long answer cannot, its rows have that problem.
        """
        started = perf_counter()
        self.check()
        served, batcher, reader, records, _ = self._serving
        rows = await batcher.run(partial(sent.read, reader, body))
        time = self._stamps.now()
        provenance = {**provenance_of(served), "timestamp": time}
        may_skip = self._recorder is not None and self._recorder.is_lenient
        heading = heading_of(served, rows, provenance, has_logged=may_skip)
        keep = None if records is None else partial(records.keep_rows, Call("batch", started, time))
        answer = partial(self._answer_piece, served, keep, len(rows))
        chunks = written(rows, answer, wanted, heading, batcher.run)
        return BulkResponse(wanted.media_type, provenance, len(rows), chunks)

    async def predict_rows(
        self,
        read: Callable[[RowReader], Row | Rows],
        is_gone: Callable[[], bool] = nobody_hangs_up,
        started: float | None = None,
        *,
        is_small: bool = True,
    ) -> tuple[ServedModel, AnswerTable]:
        """Answer rows that were read already; a single one shares its call with other requests.

        Args:
            read: makes the rows, with the reader of the model that will answer them.
            is_gone: whether the caller has hung up, so that nothing needs to be computed.
            started: when the request came, by `perf_counter`; now by default.
            is_small: whether `read` is so quick that it may run on the event loop.

        Returns:
            The model that answered, and its answers.

        Raises:
            Problem: what `read` raises, or a single row's.
        """
        started = perf_counter() if started is None else started
        serving = self._serving
        served, batcher, reader, records, _ = serving
        rows = read(reader) if is_small else await batcher.run(partial(read, reader))
        if isinstance(rows, Row):
            return served, (await self._answer_row(serving, "infer", started, rows, is_gone)).alone(rows)
        self.check()
        pieces = [await batcher.run(partial(self.answer_rows, served, piece)) for piece in rows.slices(SLICE_ROWS)]
        answers = AnswerTable.joined(pieces)
        if records is not None and not answers.problems:
            # One row with a problem fails them all, so none is recorded before all are answered.
            keep = partial(records.keep_rows, Call("infer", started, self._stamps.now()))
            answers = replace(answers, is_logged=await batcher.run(partial(kept, keep, rows.columns, answers)))
        return served, answers

    def answer_rows(self, served: ServedModel, rows: Rows, keep: Keep | None = None) -> AnswerTable:
        """The answer to each row: its prediction, or its problem.

        Args:
            served: the model.
            rows: to answer.
            keep: records the predictions; by default they are not.

        Raises:
            Problem: the predictions cannot be recorded.
        """
        predictions, failures, columns = predict_rows(served, rows)
        ids = self._stamps.new_ids(len(predictions.values))
        answers = AnswerTable.of(predictions, failures, ids, rows.entity_ids)
        if keep is not None and predictions.values:
            sent = [rows.entity_ids[row] for row in range(len(rows)) if row not in failures]
            answered = AnswerTable(predictions.values, predictions.probabilities, {}, ids, sent)
            answers = replace(answers, is_logged=kept(keep, columns, answered))
        self._observe(served, predictions.values)
        return answers

    def _answer_piece(self, served: ServedModel, keep: Keep | None, count: int, rows: Rows) -> AnswerTable:
        """The answers to all rows of a request, or to some of the `count` rows, which then may have the same problem.

        Raises:
            Problem: none of all the predictions can be recorded.
        """
        try:
            return self.answer_rows(served, rows, keep)
        except Problem as problem:
            if len(rows) == count:
                raise
            problems = {row: rows.problems.get(row, problem) for row in range(len(rows))}
            return AnswerTable.of(Predictions([], None), problems, [], rows.entity_ids)

    async def _answer_row(
        self, serving: Serving, route: str, started: float, row: Row, is_gone: Callable[[], bool]
    ) -> RowAnswer:
        """The answer to one row, recorded.

        Raises:
            Problem: the model cannot answer it, or the answer cannot be recorded.
        """
        span = CURRENT.get() if self._is_traced else None
        answer = await serving.batcher.submit(Asked(row, route, started, span), is_gone)
        if isinstance(answer, Exception):
            raise _problem(serving.served, answer)
        if answer.stored is not None and serving.records is not None:
            try:
                await answer.stored
            except NotStored as failed:
                if not serving.records.may_skip(1):
                    raise record_not_stored(failed.reason) from None
                answer = answer._replace(is_logged=False)
        if span is not None and serving.records is not None:
            # The id is of the record, in which the rest is to be found.
            span.happened("recorded" if answer.is_logged else "unlogged", {"prediction.id": answer.prediction_id})
        return answer

    def _observe(self, served: ServedModel, values: Sequence[str | float]) -> None:
        for observer in self._observers:
            try:
                observer(served, values)
            except Exception:
                logger.exception("an observer of predictions failed")


def predict_rows(served: ServedModel, rows: Rows) -> tuple[Predictions, dict[int, Problem], Columns]:
    """Predict the rows that are valid.

    Returns:
        The predictions of the rows without a problem, the problems by position, and the columns of what was predicted.
    """
    failures = dict(rows.problems)
    if len(rows) == len(rows.problems):
        return Predictions([], None), failures, rows.columns
    with model_call(served.manifest.version, len(rows) - len(rows.problems)):
        predictions, failed = predict_columns(served.predictor, rows.columns)
    if not failed:
        return predictions, failures, rows.columns
    valid = [row for row in range(len(rows)) if row not in rows.problems]
    failures |= {valid[place]: _problem(served, error) for place, error in failed.items()}
    return predictions, failures, without(rows.columns, failed)


def _problem(served: ServedModel, error: Exception) -> Problem:
    """The problem to answer with for what the user's code raised, which is logged."""
    if isinstance(error, Problem):
        return error
    if any(feature.pii for feature in served.schema.spec.features):
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("the model failed: %s (its message may hold personal data)\n%s", type(error).__name__, frames)
    else:
        logger.error("the model failed: %s", error, exc_info=error)
    return refused_by_model() if isinstance(error, ValueError) else model_failed()
