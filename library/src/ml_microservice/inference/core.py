"""The transport-free core of the service: bytes in, bytes out."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, cast

import orjson

from ml_microservice.features.columns import Columns
from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.bulk_formats import JSON, BulkFormat
from ml_microservice.inference.bulk_response import SLICE_ROWS, BulkResponse, heading_of, write_answers
from ml_microservice.inference.feedback import FeedbackReceiver, nothing_recorded
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem, record_not_stored
from ml_microservice.inference.responder import Responder
from ml_microservice.inference.row_answers import Observe, RowAnswer, RowRequest
from ml_microservice.inference.row_predictions import failure_problem, predict_rows
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.disk_sync import NotStored
from ml_microservice.records.recorder import Call, ModelRecorder, Recorder
from ml_microservice.settings import ApiSettings
from ml_microservice.tracing.current_span import CURRENT, add_event

logger = logging.getLogger(__name__)


def nobody_hangs_up() -> bool:
    """For callers that cannot go away."""
    return False


class Core:
    """Answers requests with the model that is served at the moment.

    Calls are made from one event loop. A single row goes this way: `predict` validates it, `MicroBatcher.submit` queues
    it, `RowAnswerer.predict` and `RowAnswerer.answer` predict and record all queued rows together, and `predict` writes
    the answer.

    Args:
        served: the first model.
        limits: on rows, requests in work and waiting time.
        observers: each takes all values that were answered, some at a time; what one raises is logged, and changes no
            answer.
        recorder: records predictions; None if they are not recorded.
        is_traced: whether requests may have spans.
    """

    def __init__(
        self,
        served: ServedModel,
        limits: ApiSettings,
        *,
        observers: Iterable[Observe] = (),
        recorder: Recorder | None = None,
        is_traced: bool = False,
    ) -> None:
        self._is_traced = is_traced
        self._recorder = recorder
        self._limits = limits
        self._observers = tuple(observers)
        self._stamps = Stamps()
        self._feedback = None if recorder is None else FeedbackReceiver(recorder.journal, limits.max_batch_rows)
        self.serve(served)

    def serve(self, served: ServedModel) -> None:
        """Answer with this model from now on."""
        self.served = served
        self._responder = Responder.of(
            served, self._limits, self._recorder, self._stamps, self._observe, is_traced=self._is_traced
        )

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
        responder = self._responder
        served = responder.served
        row = served.row(body)
        answer = await self._answer_row(responder, "predict", started, row, is_gone)
        document: dict[str, Any] = {"prediction": answer.value}
        if answer.probabilities is not None:
            document["probabilities"] = answer.probabilities
        document["prediction_id"] = answer.prediction_id
        if row.entity_id is not None and served.id_name is not None:
            document[served.id_name] = row.entity_id
        if not answer.is_logged:
            document["logged"] = False
        return b'%b%b"%b"}' % (orjson.dumps(document)[:-1], responder.provenance, answer.time.encode())

    async def feedback(self, body: bytes) -> bytes:
        """Take feedback on predictions: a JSON object, or a list of them.

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
                part of a long answer cannot be recorded, its rows have that problem.
        """
        started = perf_counter()
        self.check()
        responder = self._responder
        served, batcher = responder.served, responder.batcher
        rows = await batcher.run(partial(sent.read, responder.reader, body))
        call = Call("batch", started, self._stamps.now())
        provenance = {**served.provenance(), "timestamp": call.time}
        may_skip = self._recorder is not None and self._recorder.is_lenient
        heading = heading_of(served, rows, provenance, has_logged=may_skip)
        answer = partial(self._answer_slice, responder, call, len(rows))
        content = write_answers(rows, answer, wanted.writer(heading), batcher.run)
        return BulkResponse(wanted.media_type, provenance, len(rows), content)

    async def answer_rows(
        self,
        read: Callable[[RowReader], Row | Rows],
        is_gone: Callable[[], bool] = nobody_hangs_up,
        started: float | None = None,
        *,
        is_small: bool = True,
    ) -> tuple[ServedModel, AnswerTable]:
        """Answer rows of an inference request; a single row shares its call with other requests.

        Args:
            read: makes the rows, with the reader of the model that will answer them.
            is_gone: whether the caller has hung up, so that nothing needs to be computed.
            started: when the request came, by `perf_counter`; now by default.
            is_small: whether `read` is quick enough for the event loop.

        Returns:
            The model that answered, and its answers.

        Raises:
            Problem: what `read` raises, or the problem of a single row.
        """
        started = perf_counter() if started is None else started
        responder = self._responder
        served, batcher = responder.served, responder.batcher
        rows = read(responder.reader) if is_small else await batcher.run(partial(read, responder.reader))
        if isinstance(rows, Row):
            answer = await self._answer_row(responder, "infer", started, rows, is_gone)
            return served, answer.as_table(rows)
        self.check()
        tables = [await batcher.run(partial(self.answer_table, served, one)) for one in rows.slices(SLICE_ROWS)]
        answers = AnswerTable.joined(tables)
        if responder.records is not None and not answers.problems:
            # One row with a problem fails them all, so none is recorded before all are answered.
            call = Call("infer", started, self._stamps.now())
            is_logged = await batcher.run(partial(_record, responder.records, call, rows.columns, answers))
            answers = replace(answers, is_logged=is_logged)
        return served, answers

    def answer_table(
        self, served: ServedModel, rows: Rows, records: ModelRecorder | None = None, call: Call | None = None
    ) -> AnswerTable:
        """Answer each row by its prediction, or by its problem.

        Args:
            served: the model.
            rows: to answer.
            records: records the predictions; by default they are not recorded.
            call: the request, for the records.

        Raises:
            Problem: the predictions cannot be recorded.
        """
        predictions, failures, columns = predict_rows(served, rows)
        ids = self._stamps.new_ids(len(predictions.values))
        answers = AnswerTable.of(predictions, failures, ids, rows.entity_ids)
        if records is not None and call is not None and predictions.values:
            sent = [rows.entity_ids[row] for row in range(len(rows)) if row not in failures]
            answered = AnswerTable(predictions.values, predictions.probabilities, {}, ids, sent)
            answers = replace(answers, is_logged=_record(records, call, columns, answered))
        self._observe(served, predictions.values)
        return answers

    def _answer_slice(self, responder: Responder, call: Call, count: int, rows: Rows) -> AnswerTable:
        """Answer a slice of the `count` rows of a request.

        If its predictions cannot be recorded, all its rows have that problem, or the request has if it is one slice.

        Raises:
            Problem: no prediction of the request can be recorded.
        """
        try:
            return self.answer_table(responder.served, rows, responder.records, call)
        except Problem as problem:
            if len(rows) == count:
                raise
            problems = {row: rows.problems.get(row, problem) for row in range(len(rows))}
            return AnswerTable.of(Predictions([], None), problems, [], rows.entity_ids)

    async def _answer_row(
        self, responder: Responder, route: str, started: float, row: Row, is_gone: Callable[[], bool]
    ) -> RowAnswer:
        """Answer one row together with others that wait, and record it.

        Raises:
            Problem: the model cannot answer it, or the answer cannot be recorded.
        """
        span = CURRENT.get() if self._is_traced else None
        answer = await responder.batcher.submit(RowRequest(row, route, started, span), is_gone)
        if isinstance(answer, Exception):
            raise failure_problem(responder.served, answer)
        records = responder.records
        if answer.stored is not None and records is not None:
            try:
                await answer.stored
            except NotStored as failed:
                if not records.may_skip(1):
                    raise record_not_stored(failed.reason) from None
                answer = answer._replace(is_logged=False)
        if span is not None and records is not None:
            # The id leads to the record, which has the rest.
            span.add_event("recorded" if answer.is_logged else "unlogged", {"prediction.id": answer.prediction_id})
        return answer

    def _observe(self, served: ServedModel, values: Sequence[str | float]) -> None:
        for observer in self._observers:
            try:
                observer(served, values)
            except Exception:
                logger.exception("an observer of predictions failed")


def _record(records: ModelRecorder, call: Call, columns: Columns, answers: AnswerTable) -> bool:
    """Record answers, none of which is a problem.

    Returns:
        Whether they are recorded; if not, they may be given without.

    Raises:
        Problem: they cannot be recorded, and may not be given.
    """
    ids, values = cast(Sequence[str], answers.prediction_ids), cast(Sequence[str | float], answers.values)
    try:
        is_logged = records.keep_rows(call, ids, answers.entity_ids, columns, values, answers.probabilities)
    except NotStored as failed:
        raise record_not_stored(failed.reason) from None
    add_event("recorded" if is_logged else "unlogged", {"rows": len(ids)})
    return is_logged
