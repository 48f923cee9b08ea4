"""Running chunks: from their bodies to their results, with a record of every prediction before there is a result."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from ml_microservice.features.columns import Columns
from ml_microservice.inference.answer_table import NONE, AnswerTable
from ml_microservice.inference.bulk_response import SLICE_ROWS
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.row_predictions import predict_rows
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.jobs.chunk_format import body_format, body_name, result_name
from ml_microservice.jobs.job import ClaimedChunk, FinishedChunk
from ml_microservice.jobs.results.chunk_result import pack
from ml_microservice.jobs.worker.prediction_ids import prediction_ids
from ml_microservice.jobs.worker.watchdog import WatchedChunks
from ml_microservice.records.recorder import Call, ModelRecorder
from ml_microservice.tracing.current_span import add_event

if TYPE_CHECKING:
    from ml_microservice.jobs.storage import JobStorage

ROUTE = "job"


class Predicted(NamedTuple):
    """Rows that were predicted together."""

    rows: Rows
    predictions: Predictions
    """Of those without a problem."""
    problems: dict[int, Problem]
    columns: Columns
    """Of what was predicted."""
    ids: list[str]
    """Of the predictions."""


class ChunkRunner:
    """Runs the chunks of jobs with one model.

    Args:
        served: the model.
        storage: of bodies and results that are not in the database.
        inline_bytes: most bytes of a result that goes into the database.
        records: of the model's predictions; None if they are not recorded.
    """

    def __init__(
        self, served: ServedModel, storage: "JobStorage", inline_bytes: int, records: ModelRecorder | None
    ) -> None:
        self._served = served
        self._reader = RowReader(served)
        self._storage = storage
        self._inline_bytes = inline_bytes
        self._records = records
        self._stamps = Stamps()

    def run_single(self, chunks: Sequence[ClaimedChunk], watched: WatchedChunks) -> list[FinishedChunk | Problem]:
        """Run jobs of one object each, by one call of the model.

        Returns:
            For each its result, or why it has none.

        Raises:
            Stopped: they are to end.
            NotStored: the predictions cannot be recorded.
        """
        started = perf_counter()
        rows = self._reader.each([self._body(chunk) for chunk in chunks])
        predicted = self._predict(rows, lambda valid: [prediction_ids(chunks[row].job_id, [0])[0] for row in valid])
        watched.check()
        time = self._stamps.now()
        answers = self._recorded(predicted, Call(ROUTE, started, time))
        return [
            predicted.problems.get(row) or self._finished(chunk, _alone(answers, row), time)
            for row, chunk in enumerate(chunks)
        ]

    def run(self, chunk: ClaimedChunk, watched: WatchedChunks) -> FinishedChunk:
        """Run a chunk of many rows, each of which may fail alone.

        Raises:
            Stopped: it is to end.
            Problem: the body cannot be read.
            NotStored: the predictions cannot be recorded.
        """
        started = perf_counter()
        rows = body_format(chunk.media_type).read(self._reader, self._body(chunk))
        pieces, first_row = [], chunk.first_row
        for piece in rows.slices(SLICE_ROWS):
            watched.check()
            numbers = range(first_row, first_row + len(piece))
            pieces.append(self._predict(piece, partial(_ids_of, chunk.job_id, numbers)))
            first_row = numbers.stop
        watched.check()
        # Only now: what is stopped before it is done leaves no records of what nobody is told.
        call = Call(ROUTE, started, self._stamps.now())
        answers = [self._recorded(predicted, call) for predicted in pieces]
        return self._finished(chunk, AnswerTable.joined(answers) if answers else NONE, call.time)

    def _body(self, chunk: ClaimedChunk) -> bytes:
        return self._storage.read(chunk.job_id, body_name(chunk.number)) if chunk.body is None else chunk.body

    def _predict(self, rows: Rows, ids: Callable[[Iterable[int]], list[str]]) -> Predicted:
        predictions, problems, columns = predict_rows(self._served, rows)
        valid = [row for row in range(len(rows)) if row not in problems]
        return Predicted(rows, predictions, problems, columns, ids(valid))

    def _recorded(self, predicted: Predicted, call: Call) -> AnswerTable:
        """The answers, once they are recorded.

        Raises:
            NotStored: they cannot be, and may not be given.
        """
        rows, predictions, problems, columns, ids = predicted
        answers = AnswerTable.of(predictions, problems, ids, rows.entity_ids)
        if self._records is None or not ids:
            return answers
        entity_ids = [entity_id for row, entity_id in enumerate(rows.entity_ids) if row not in problems]
        values, probabilities = predictions.values, predictions.probabilities
        is_logged = self._records.keep_rows(call, ids, entity_ids, columns, values, probabilities)
        add_event("recorded" if is_logged else "unlogged", {"rows": len(ids)})
        return replace(answers, is_logged=is_logged)

    def _finished(self, chunk: ClaimedChunk, answers: AnswerTable, time: str) -> FinishedChunk:
        provenance = {**self._served.provenance(), "timestamp": time}
        result: bytes | None = pack(answers, provenance, self._served.schema.classes)
        assert result is not None
        if len(result) > self._inline_bytes:
            self._storage.write(chunk.job_id, result_name(chunk.number), result)
            result = None
        return FinishedChunk(chunk.job_id, chunk.number, chunk.claim, answers.failed, result)


def _ids_of(job_id: str, numbers: Sequence[int], rows: Iterable[int]) -> list[str]:
    """The ids of the predictions of some rows of a piece, by the numbers of all its rows in the job."""
    return prediction_ids(job_id, (numbers[row] for row in rows))


def _alone(answers: AnswerTable, row: int) -> AnswerTable:
    """The answer to one row, as the answers to many."""
    probabilities = None if answers.probabilities is None else answers.probabilities[row : row + 1]
    ids, entity_ids = answers.prediction_ids[row : row + 1], answers.entity_ids[row : row + 1]
    return AnswerTable(answers.values[row : row + 1], probabilities, {}, ids, entity_ids, answers.is_logged)
