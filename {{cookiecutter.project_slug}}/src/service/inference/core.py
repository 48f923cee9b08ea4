"""The core of the service: bytes in, bytes out, whatever carries them."""

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from service.inference.batching import MicroBatcher
from service.inference.predictor import Answer, predict_each
from service.inference.problems import Problem, invalid_request, model_failed, refused_by_model
from service.inference.served_model import Row, ServedModel
from service.inference.stamps import Stamps
from service.settings import ApiSettings

logger = logging.getLogger(__name__)

Observer = Callable[[ServedModel, Answer], None]
"""Told of every answered row; what it raises is logged and changes no answer."""


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
        """Answer a JSON list of objects; a row that fails is answered by its problem and fails alone.

        Raises:
            Problem: the body is not a list, or has too many rows.
        """
        served, batcher, provenance = self.served, self._batcher, self._provenance
        answers = await batcher.run(partial(self._answer_batch, served, body))
        failed = sum("error" in answer for answer in answers)
        document = orjson.dumps({"predictions": answers, "failed": failed})
        return b"%b%b%b" % (document[:-1], provenance, self._timestamp())

    def answer_rows(self, served: ServedModel, rows: Sequence[Row | Problem]) -> list[dict[str, Any]]:
        """One answer for each row: its prediction, or its problem under the key `error`."""
        valid = [row for row in rows if isinstance(row, Row)]
        predicted = iter(predict_each(served.predictor, served.columns(valid)) if valid else ())
        answers: list[dict[str, Any]] = []
        for row in rows:
            try:
                if isinstance(row, Problem):
                    raise row
                answers.append(self._document(served, row, next(predicted)))
            except Problem as problem:
                answers.append({"error": problem.as_json()})
        return answers

    def _answer_batch(self, served: ServedModel, body: bytes) -> list[dict[str, Any]]:
        return self.answer_rows(served, self._rows(served, body))

    def _rows(self, served: ServedModel, body: bytes) -> Sequence[Row | Problem]:
        """The rows of a batch, each valid or with its problem."""
        limit = self._limits.max_batch_rows
        try:
            items = _ROWS.validate_json(body)
        except ValidationError as error:
            problem = invalid_request(error, served.schema.spec, served.id_name)
            if problem.kind == "invalid-json":
                raise problem from None
            detail = "The body must be a JSON list of objects."
            raise Problem(422, "invalid-batch", "The request is not a list of rows", detail) from None
        if len(items) > limit:
            detail = f"The list has {len(items)} rows, at most {limit} are answered at once: split it."
            raise Problem(413, "too-many-rows", "Too many rows", detail)
        return [served.row_or_problem(to_json(item, inf_nan_mode="constants")) for item in items]

    def _document(self, served: ServedModel, row: Row, answered: Answer | Exception) -> dict[str, Any]:
        """The answer to one row, without what all rows share.

        Raises:
            Problem: the model could not answer it.
        """
        if isinstance(answered, Exception):
            raise _problem(served, answered)
        self._observe(served, answered)
        document: dict[str, Any] = {"prediction": answered.value}
        if answered.probabilities is not None:
            document["probabilities"] = dict(zip(served.schema.classes, answered.probabilities, strict=True))
        document["prediction_id"] = self._stamps.new_id()
        if row.entity_id is not None and served.id_name is not None:
            document[served.id_name] = row.entity_id
        return document

    def _observe(self, served: ServedModel, answer: Answer) -> None:
        for observer in self._observers:
            try:
                observer(served, answer)
            except Exception:
                logger.exception("an observer of predictions failed")

    def _timestamp(self) -> bytes:
        return b'"%b"}' % self._stamps.now().encode()


_ROWS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


def _provenance(served: ServedModel) -> bytes:
    """What every answer of a model ends with, up to the time."""
    manifest = served.manifest
    shared = {
        "model_version": manifest.version,
        "model_id": manifest.id,
        "model_created_at": manifest.created_at.isoformat(),
    }
    return b"," + orjson.dumps(shared)[1:-1] + b',"timestamp":'


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
