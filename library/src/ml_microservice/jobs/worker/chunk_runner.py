"""Runs chunks: reads a body, predicts its rows slice by slice, records every prediction, and then makes the result."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

from ml_microservice.features.columns import Columns
from ml_microservice.inference.answer_table import NONE, AnswerTable
from ml_microservice.inference.bulk_response import SLICE_ROWS
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.row_predictions import predict_rows
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.jobs.chunk_format import body_format
from ml_microservice.jobs.job import ClaimedChunk, FinishedChunk
from ml_microservice.jobs.results.chunk_result import pack
from ml_microservice.jobs.storage import JobStorage, body_name, result_name
from ml_microservice.jobs.worker.prediction_ids import prediction_ids
from ml_microservice.jobs.worker.watchdog import WatchedChunks
from ml_microservice.records.recorder import Call, ModelRecorder
from ml_microservice.tracing.current_span import add_event

ROUTE = "job"


class Predicted(NamedTuple):
    """Rows that were predicted together."""

    rows: Rows
    predictions: Predictions
    """Predictions of the rows without a problem."""
    problems: dict[int, Problem]
    columns: Columns
    """Features of the rows without a problem."""
    valid: list[int]
    """Positions of the rows without a problem."""


class ChunkRunner:
    """Runs the chunks of jobs with one model.

    Args:
        served: the model.
        storage: holds the bodies and results that are not in the database.
        inline_bytes: most bytes of a result that goes into the database.
        records: records the model's predictions; None if they are not recorded.
    """

    def __init__(
        self, served: ServedModel, storage: JobStorage, inline_bytes: int, records: ModelRecorder | None
    ) -> None:
        self._served = served
        self._reader = RowReader(served)
        self._storage = storage
        self._inline_bytes = inline_bytes
        self._records = records
        self._stamps = Stamps()

    def run_single(self, chunks: Sequence[ClaimedChunk], watched: WatchedChunks) -> list[FinishedChunk | Problem]:
        """Run jobs of one object each, with one call of the model.

        Returns:
            For each chunk its result, or why there is none.

        Raises:
            Stopped: the watchdog has stopped the run.
            NotStored: the predictions cannot be recorded.
        """
        started = perf_counter()
        predicted = self._predict(self._reader.each([self._body(chunk) for chunk in chunks]))
        ids = [prediction_ids(chunks[row].job_id, [0])[0] for row in predicted.valid]
        watched.check()
        time = self._stamps.now()
        answers = self._record(predicted, ids, Call(ROUTE, started, time))
        return [
            predicted.problems.get(row) or self._finish(chunk, answers.slice(row, row + 1), time)
            for row, chunk in enumerate(chunks)
        ]

    def run(self, chunk: ClaimedChunk, watched: WatchedChunks) -> FinishedChunk:
        """Run a chunk of many rows, each of which may fail alone.

        Raises:
            Stopped: the watchdog has stopped the run.
            Problem: the body cannot be read.
            NotStored: the predictions cannot be recorded.
        """
        started = perf_counter()
        rows = body_format(chunk.media_type).read(self._reader, self._body(chunk))
        slices: list[tuple[Predicted, list[str]]] = []
        first_row = chunk.first_row
        for some in rows.slices(SLICE_ROWS):
            watched.check()
            predicted = self._predict(some)
            ids = prediction_ids(chunk.job_id, (first_row + row for row in predicted.valid))
            slices.append((predicted, ids))
            first_row += len(some)
        watched.check()
        # Recorded only now, so that a run that is stopped leaves no records of predictions that nobody gets.
        call = Call(ROUTE, started, self._stamps.now())
        answers = [self._record(predicted, ids, call) for predicted, ids in slices]
        return self._finish(chunk, AnswerTable.joined(answers) if answers else NONE, call.time)

    def _body(self, chunk: ClaimedChunk) -> bytes:
        return self._storage.read(chunk.job_id, body_name(chunk.number)) if chunk.body is None else chunk.body

    def _predict(self, rows: Rows) -> Predicted:
        predictions, problems, columns = predict_rows(self._served, rows)
        valid = [row for row in range(len(rows)) if row not in problems]
        return Predicted(rows, predictions, problems, columns, valid)

    def _record(self, predicted: Predicted, ids: list[str], call: Call) -> AnswerTable:
        """Record predictions, and make the answers.

        Raises:
            NotStored: the predictions cannot be recorded, so there may be no answers.
        """
        predictions, entity_ids = predicted.predictions, predicted.rows.entity_ids
        answers = AnswerTable.of(predictions, predicted.problems, ids, entity_ids)
        if self._records is None or not ids:
            return answers
        is_logged = self._records.keep_rows(
            call,
            ids,
            [entity_ids[row] for row in predicted.valid],
            predicted.columns,
            predictions.values,
            predictions.probabilities,
        )
        add_event("recorded" if is_logged else "unlogged", {"rows": len(ids)})
        return replace(answers, is_logged=is_logged)

    def _finish(self, chunk: ClaimedChunk, answers: AnswerTable, time: str) -> FinishedChunk:
        provenance = {**self._served.provenance(), "timestamp": time}
        result: bytes | None = pack(answers, provenance, self._served.schema.classes)
        assert result is not None
        if len(result) > self._inline_bytes:
            self._storage.write(chunk.job_id, result_name(chunk.number), result)
            result = None
        return FinishedChunk(
            job_id=chunk.job_id,
            number=chunk.number,
            claim=chunk.claim,
            rows_failed=answers.failed,
            result=result,
        )
