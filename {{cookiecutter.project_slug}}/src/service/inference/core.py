"""The core of the service: bytes in, bytes out, whatever carries them."""

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from service.inference.predictor import Predictions, predict_each
from service.inference.problems import Problem, invalid_request, model_failed, refused_by_model
from service.inference.served_model import Row, ServedModel

logger = logging.getLogger(__name__)

Observer = Callable[[ServedModel, Predictions], None]
"""Told of every answered row; what it raises is logged and changes no answer."""


class Core:
    """Answers requests with the model that is served at the moment.

    Calls are safe from several threads: each takes the served model once and stays with it.
    """

    def __init__(
        self,
        served: ServedModel,
        max_batch_rows: int,
        *,
        observers: Iterable[Observer] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self.served = served
        self._max_batch_rows = max_batch_rows
        self._observers = tuple(observers)
        self._clock = clock
        self._new_id = new_id

    def predict(self, body: bytes) -> bytes:
        """Answer one JSON object of features.

        Raises:
            Problem: the request breaks a rule, or the model cannot answer it.
        """
        served = self.served
        row = served.row(body)
        answer = self._answer(served, row, self._predict(served, [row])[0])
        return orjson.dumps({**answer, **self._provenance(served)})

    def predict_batch(self, body: bytes) -> bytes:
        """Answer a JSON list of objects; a row that fails is answered by its problem and fails alone.

        Raises:
            Problem: the body is not a list, or has too many rows.
        """
        served = self.served
        answers = self.answer_rows(served, self._rows(served, body))
        failed = sum("error" in answer for answer in answers)
        return orjson.dumps({"predictions": answers, "failed": failed, **self._provenance(served)})

    def answer_rows(self, served: ServedModel, rows: Sequence[Row | Problem]) -> list[dict[str, Any]]:
        """One answer for each row: its prediction, or its problem under the key `error`."""
        predicted = iter(self._predict(served, [row for row in rows if isinstance(row, Row)]))
        answers: list[dict[str, Any]] = []
        for row in rows:
            try:
                if isinstance(row, Problem):
                    raise row
                answers.append(self._answer(served, row, next(predicted)))
            except Problem as problem:
                answers.append({"error": problem.as_json()})
        return answers

    def _rows(self, served: ServedModel, body: bytes) -> Sequence[Row | Problem]:
        """The rows of a batch, each valid or with its problem; all at once if none is invalid."""
        limit = self._max_batch_rows
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

    def _predict(self, served: ServedModel, rows: Sequence[Row]) -> list[Predictions | Exception]:
        if not rows:
            return []
        answers = predict_each(served.predictor, served.columns(rows))
        for answer in answers:
            if isinstance(answer, Predictions):
                self._observe(served, answer)
        return answers

    def _observe(self, served: ServedModel, answer: Predictions) -> None:
        for observer in self._observers:
            try:
                observer(served, answer)
            except Exception:
                logger.exception("an observer of predictions failed")

    def _answer(self, served: ServedModel, row: Row, predicted: Predictions | Exception) -> dict[str, Any]:
        if isinstance(predicted, Exception):
            _log_failure(served, predicted)
            raise refused_by_model() if isinstance(predicted, ValueError) else model_failed()
        answer: dict[str, Any] = {"prediction": predicted.values[0]}
        if predicted.probabilities is not None:
            answer["probabilities"] = dict(zip(served.schema.classes, predicted.probabilities[0].tolist(), strict=True))
        answer["prediction_id"] = self._new_id()
        if row.entity_id is not None and served.id_name is not None:
            answer[served.id_name] = row.entity_id
        return answer

    def _provenance(self, served: ServedModel) -> dict[str, str]:
        manifest = served.manifest
        return {
            "model_version": manifest.version,
            "model_id": manifest.id,
            "model_created_at": manifest.created_at.isoformat(),
            "timestamp": self._clock().isoformat(),
        }


_ROWS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


def _log_failure(served: ServedModel, error: Exception) -> None:
    """Log what the user's code raised; without its words where they might repeat personal data."""
    if any(feature.pii for feature in served.schema.spec.features):
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("the model failed: %s (its message may hold personal data)\n%s", type(error).__name__, frames)
    else:
        logger.error("the model failed: %s", error, exc_info=error)
