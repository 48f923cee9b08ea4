"""The core of the service: bytes in, bytes out, whatever carries them."""

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from service.inference.answers import Answers, Record
from service.inference.batching import MicroBatcher
from service.inference.bulk import PIECE_ROWS, BulkAnswer, heading_of, written
from service.inference.bulk_formats import JSON, BulkFormat
from service.inference.predictor import Answer, Predictions, predict_columns
from service.inference.problems import Problem, model_failed, refused_by_model
from service.inference.rows import RowReader, Rows
from service.inference.served_model import Row, ServedModel
from service.inference.stamps import Stamps
from service.settings import ApiSettings

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

    def __init__(self, served: ServedModel, limits: ApiSettings, *, observers: Iterable[Observer] = ()) -> None:
        self._limits = limits
        self._observers = tuple(observers)
        self._stamps = Stamps()
        self.serve(served)

    def serve(self, served: ServedModel) -> None:
        """Answer with this model from now on."""
        self.served = served
        self._batcher = MicroBatcher(served, self._limits.max_concurrency, self._limits.timeout_seconds)
        self._provenance = _provenance(served)
        self._reader = RowReader(served, self._limits.max_batch_rows)

    async def predict(self, body: bytes, is_gone: Callable[[], bool] = nobody_hangs_up) -> bytes:
        """Answer one JSON object of features.

        Args:
            body: the object.
            is_gone: whether the caller has hung up, so that nothing needs to be computed.

        Raises:
            Problem: the request breaks a rule, or the model cannot answer it.
        """
        served, batcher, provenance = self.served, self._batcher, self._provenance
        row = served.row(body)
        answer = self._document(served, row, await batcher.submit(row, is_gone))
        return b"%b%b%b" % (orjson.dumps(answer)[:-1], provenance, self._timestamp())

    async def predict_batch(self, body: bytes) -> bytes:
        """Answer a JSON list of objects by one document; see `predict_bulk`."""
        return await (await self.predict_bulk(body)).body()

    async def predict_bulk(self, body: bytes, sent: BulkFormat = JSON, wanted: BulkFormat = JSON) -> BulkAnswer:
        """Answer many rows; a row that fails is answered by its problem and fails alone.

        Args:
            body: the rows.
            sent: the format of the body.
            wanted: the format of the answer.

        Raises:
            Problem: the body is not of its format, or has too many rows.
        """
        served, batcher = self.served, self._batcher
        rows = await batcher.run(partial(sent.read, self._reader, body))
        provenance = {**provenance_of(served), "timestamp": self._stamps.now()}
        heading = heading_of(served, rows, provenance)
        chunks = written(rows, partial(self.answer_rows, served), wanted, heading, batcher.run)
        return BulkAnswer(wanted.media_type, provenance, len(rows), chunks)

    async def predict_records(
        self,
        read: Callable[[ServedModel], Sequence[Record]],
        is_gone: Callable[[], bool] = nobody_hangs_up,
        *,
        is_small: bool = True,
    ) -> tuple[ServedModel, Answers]:
        """Answer rows given as JSON objects in Python's form; a single one shares its call with other requests.

        Args:
            read: makes the rows, for the model that will answer them.
            is_gone: whether the caller has hung up, so that nothing needs to be computed.
            is_small: whether `read` is so quick that it may run on the event loop.

        Returns:
            The model that answered, and its answers.

        Raises:
            Problem: there are too many rows, or what `read` raises.
        """
        served, batcher, reader = self.served, self._batcher, self._reader
        records = read(served) if is_small else await batcher.run(partial(read, served))
        if len(records) != 1:
            rows = await batcher.run(partial(reader.records, records))
            pieces = [await batcher.run(partial(self.answer_rows, served, piece)) for piece in rows.pieces(PIECE_ROWS)]
            return served, Answers.joined(pieces)
        row = reader.record(records[0])
        answered = await batcher.submit(row, is_gone)
        if isinstance(answered, Exception):
            raise _problem(served, answered)
        self._observe(served, [answered.value])
        probabilities = None if answered.probabilities is None else np.asarray([answered.probabilities])
        return served, Answers([answered.value], probabilities, {}, [self._stamps.new_id()], [row.entity_id])

    def answer_rows(self, served: ServedModel, rows: Rows) -> Answers:
        """The answer to each row: its prediction, or its problem."""
        predictions, failures = Predictions([], None), dict(rows.problems)
        if len(rows) > len(rows.problems):
            predictions, failed = predict_columns(served.predictor, rows.columns)
            valid = [row for row in range(len(rows)) if row not in rows.problems] if failed else []
            failures |= {valid[place]: _problem(served, error) for place, error in failed.items()}
        self._observe(served, predictions.values)
        ids = self._stamps.new_ids(len(predictions.values))
        return Answers.of(predictions, failures, ids, rows.entity_ids)

    def _document(self, served: ServedModel, row: Row, answered: Answer | Exception) -> dict[str, Any]:
        """The answer to one row, without what all rows share.

        Raises:
            Problem: the model could not answer it.
        """
        if isinstance(answered, Exception):
            raise _problem(served, answered)
        self._observe(served, [answered.value])
        document: dict[str, Any] = {"prediction": answered.value}
        if answered.probabilities is not None:
            document["probabilities"] = dict(zip(served.schema.classes, answered.probabilities, strict=True))
        document["prediction_id"] = self._stamps.new_id()
        if row.entity_id is not None and served.id_name is not None:
            document[served.id_name] = row.entity_id
        return document

    def _observe(self, served: ServedModel, values: Sequence[str | float]) -> None:
        for observer in self._observers:
            try:
                observer(served, values)
            except Exception:
                logger.exception("an observer of predictions failed")

    def _timestamp(self) -> bytes:
        return b'"%b"}' % self._stamps.now().encode()


def provenance_of(served: ServedModel) -> dict[str, str]:
    """Which model answers."""
    manifest = served.manifest
    return {
        "model_version": manifest.version,
        "model_id": manifest.id,
        "model_created_at": manifest.created_at.isoformat(),
    }


def _provenance(served: ServedModel) -> bytes:
    """What every answer of a model ends with, up to the time."""
    return b"," + orjson.dumps(provenance_of(served))[1:-1] + b',"timestamp":'


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
