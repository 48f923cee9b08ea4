"""The predictor that calls the user's own Python objects on columns of validated rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ml_microservice.artefact.reader import Artefact
from ml_microservice.artefact.schema import LabelForm
from ml_microservice.features.columns import Columns
from ml_microservice.inference.outputs import check_rows, class_indices, numbers, probability_matrix, row_count

if TYPE_CHECKING:
    from ml_microservice.features.layout import FrameLayout

MAX_CALLS = 500
"""Calls that one batch may cost when rows in it fail."""


@dataclass(frozen=True)
class Predictions:
    """Answers to a number of rows."""

    values: Sequence[str | float]
    """Class names, or numbers, one for each row."""
    probabilities: NDArray[np.float64] | None
    """Shape (rows, classes); None for regression and for classifiers without `predict_proba`."""


class Prediction(NamedTuple):
    """The answer to one row."""

    value: str | float
    probabilities: list[float] | None
    """The probability of each class, in the order of the classes."""


class Predictor(Protocol):
    """Anything that answers columns."""

    def predict(self, columns: Columns) -> Predictions:
        """Predict validated rows, given as one sequence of values for each feature.

        Raises:
            Exception: whatever the user's code raises.
        """
        ...


class PythonPredictor:
    """Predicts by the user's Preprocessor and model, called as they are on a frame of the training layout."""

    def __init__(
        self, layout: "FrameLayout", preprocessor: Any, model: Any, classes: Sequence[str], label_form: LabelForm
    ) -> None:
        self._layout = layout
        self._preprocessor = preprocessor
        self._model = model
        self._classes = tuple(classes)
        self._label_form = label_form
        self._names = np.asarray(classes, dtype=object)
        self._has_probabilities = bool(classes) and hasattr(model, "predict_proba")

    @classmethod
    def of(cls, artefact: Artefact) -> "PythonPredictor":
        """The predictor of a stored model."""
        # Imports pandas, which a service with a compiled model does without.
        from ml_microservice.features.layout import FrameLayout

        schema = artefact.schema
        layout = FrameLayout.from_json(schema.layout)
        return cls(layout, artefact.preprocessor, artefact.model, schema.classes, schema.label_form)

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`."""
        return self.predict_frame(self._layout.from_columns(columns))

    def predict_frame(self, frame: Any) -> Predictions:
        """Predict the rows of a frame that is in the training layout already.

        Raises:
            HookError: a hook returned something that is no prediction.
        """
        values, probabilities = self.estimate(self._transformed(frame))
        return Predictions((self._names[values] if self._classes else values).tolist(), probabilities)

    def transform(self, columns: Columns) -> Any:
        """What the Preprocessor returns for validated rows.

        Raises:
            HookError: it returned another number of rows.
        """
        return self._transformed(self._layout.from_columns(columns))

    def estimate(self, transformed: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """What the model predicts for transformed rows.

        Returns:
            Positions of the classes or numbers, shape (rows,); and probabilities, shape (rows, classes), if the model
            has them.

        Raises:
            HookError: the model returned something that is no prediction.
        """
        rows = row_count(transformed)
        predicted = self._model.predict(transformed)
        if not self._classes:
            return numbers(predicted, rows), None
        check_rows(predicted, rows, "predict")
        indices = class_indices(predicted, self._model, self._classes, self._label_form)
        if not self._has_probabilities:
            return indices, None
        return indices, probability_matrix(self._model.predict_proba(transformed), rows, len(self._classes))

    def _transformed(self, frame: Any) -> Any:
        transformed = self._preprocessor.transform(frame)
        check_rows(transformed, len(frame), "Preprocessor.transform")
        return transformed


def predict_columns(predictor: Predictor, columns: Columns) -> tuple[Predictions, dict[int, Exception]]:
    """Predict many rows together, without an object for each.

    Returns:
        The answers to the rows that did not fail, and what was raised for those that did, by position.
    """
    try:
        return predictor.predict(columns), {}
    except Exception:
        each = predict_each(predictor, columns)
    answers = [answer for answer in each if isinstance(answer, Prediction)]
    has_probabilities = bool(answers) and answers[0].probabilities is not None
    probabilities = np.asarray([answer.probabilities for answer in answers]) if has_probabilities else None
    failed = {position: answer for position, answer in enumerate(each) if isinstance(answer, Exception)}
    return Predictions([answer.value for answer in answers], probabilities), failed


def predict_each(predictor: Predictor, columns: Columns) -> list[Prediction | Exception]:
    """Predict rows together, or, where that fails, halve them until the rows that fail stand alone.

    Halving stops after `MAX_CALLS`, so that a model that fails on everything does not hold up the service: rows that
    still stand together then share what their call raised.

    Returns:
        One entry for each row: its answer, or an exception.
    """
    calls = 0

    def answer(part: Columns) -> list[Prediction | Exception]:
        nonlocal calls
        calls += 1
        count = len(next(iter(part.values())))
        try:
            return _answers(predictor.predict(part))
        except Exception as error:
            if count == 1 or calls >= MAX_CALLS:
                return [error] * count
        middle = count // 2
        halves = (slice(None, middle), slice(middle, None))
        return [row for half in halves for row in answer({name: values[half] for name, values in part.items()})]

    return answer(columns)


def _answers(predictions: Predictions) -> list[Prediction | Exception]:
    if predictions.probabilities is None:
        return [Prediction(value, None) for value in predictions.values]
    return [Prediction(*pair) for pair in zip(predictions.values, predictions.probabilities.tolist(), strict=True)]
