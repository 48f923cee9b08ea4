"""The fitted Preprocessor, the model and its classes, which the hooks make from the training rows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.artefact.schema import LabelForm, TargetColumn
from ml_microservice.errors import Fault, HookError
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.outputs import (
    check_rows,
    class_indices,
    numbers,
    predicted_form,
    probability_matrix,
    row_count,
    target_form,
)
from ml_microservice.inference.predictor import Predictions, PythonPredictor
from ml_microservice.training.hooks import TRAIN_FILE, Hooks, calling
from ml_microservice.training.split import Split


@dataclass(frozen=True)
class Fitted:
    """What the hooks made from the training rows."""

    preprocessor: Any
    model: Any
    classes: tuple[str, ...]
    """Empty for regression."""
    target_form: LabelForm
    """How the training frame names the classes."""
    label_form: LabelForm
    """How the model names the classes."""
    predictor: PythonPredictor

    def truth(self, target: "pd.Series[Any]") -> NDArray[Any]:
        """The target in the form of the evaluation: positions among the classes, or numbers."""
        if self.classes:
            return class_indices(target, self.model, self.classes, self.target_form)
        return numbers(target, len(target))

    def target_column(self, target: "pd.Series[Any]") -> TargetColumn:
        """The value of each class in the target's column; a class without a row there has its name."""
        if not self.classes:
            return TargetColumn(str(target.dtype))
        values: list[Any] = list(self.classes)
        for place, value in zip(self.truth(target).tolist(), target.tolist(), strict=True):
            values[place] = value
        return TargetColumn(str(target.dtype), tuple(values))

    def answers(self, predictions: Predictions) -> NDArray[Any]:
        """Predictions in the form of the evaluation: positions among the classes, or numbers."""
        return evaluated_form(predictions, self.classes)


@dataclass(frozen=True)
class Prepared:
    """The fitted Preprocessor, and the training rows as it transforms them."""

    preprocessor: Any
    transformed: Any


def fit(hooks: Hooks, split: Split, spec: FeatureSpec, layout: FrameLayout, seed: int) -> Fitted:
    """Run Preprocessor, train_model and get_classes on the training rows.

    Raises:
        HookError: a hook raised, or returned something that cannot be served.
    """
    prepared = fit_preprocessor(hooks, split, seed)
    model = fit_model(hooks, prepared.transformed, split.train_target)
    return finish(hooks, prepared, model, split, spec, layout)


def fit_preprocessor(hooks: Hooks, split: Split, seed: int) -> Prepared:
    """Seed the random generators, then fit the Preprocessor and transform the training rows.

    Raises:
        HookError: it raised, or fit did not return self, or transform returned another number of rows.
    """
    seed_everything(seed)
    with calling("Preprocessor.fit"):
        preprocessor = hooks.preprocessor()
        returned = preprocessor.fit(split.train.copy(), split.train_target.copy())
    if returned is not preprocessor:
        raise HookError(Fault("Preprocessor.fit must return self", file=TRAIN_FILE, advice="end it with 'return self'"))
    with calling("Preprocessor.transform"):
        transformed = preprocessor.transform(split.train.copy())
    check_rows(transformed, len(split.train), "Preprocessor.transform")
    return Prepared(preprocessor, transformed)


def fit_model(hooks: Hooks, transformed: Any, target: "pd.Series[Any]") -> Any:
    """Run train_model.

    Raises:
        HookError: it raised, or returned an object without predict.
    """
    with calling("train_model"):
        model = hooks.train_model(transformed, target.copy())
    if not callable(getattr(model, "predict", None)):
        message = f"train_model returned {type(model).__name__}, which has no predict"
        raise HookError(Fault(message, file=TRAIN_FILE, advice="end it with 'return model'"))
    return model


def finish(
    hooks: Hooks, prepared: Prepared, model: Any, split: Split, spec: FeatureSpec, layout: FrameLayout
) -> Fitted:
    """Run get_classes, and determine the form in which the model names the classes.

    Raises:
        HookError: it raised or does not name the classes, or the model returned something that is no prediction.
    """
    classes = named_classes(hooks, model) if spec.task == "classification" else ()
    named = target_form(split.train_target, model, classes) if classes else "names"
    predicted = _label_form(model, prepared.transformed, classes)
    predictor = PythonPredictor(layout, prepared.preprocessor, model, classes, predicted)
    return Fitted(prepared.preprocessor, model, classes, named, predicted, predictor)


def named_classes(hooks: Hooks, model: Any) -> tuple[str, ...]:
    """The names of the classes, from get_classes.

    Raises:
        HookError: it raised, or did not return distinct names in the model's own order.
    """
    if hooks.get_classes is None:
        advice = "a classifier needs it: return [str(name) for name in model.classes_]"
        raise HookError(Fault("get_classes is missing", TRAIN_FILE, advice=advice))
    with calling("get_classes"):
        names = hooks.get_classes(model)
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        advice = "for example: return [str(name) for name in model.classes_]"
        raise HookError(Fault(f"get_classes must return a list of text, not {names!r}", TRAIN_FILE, advice=advice))
    names = [str(name) for name in names]  # plain text instead of numpy.str_
    if len(set(names)) != len(names) or len(names) < 2:
        advice = "return one name for each column of predict_proba"
        message = f"get_classes must return at least two distinct names, not {names}"
        raise HookError(Fault(message, TRAIN_FILE, advice=advice))
    labels = getattr(model, "classes_", None)
    known = names if labels is None else [str(label) for label in labels]
    if len(names) != len(known):
        message = f"get_classes returns {names}, but the model has {len(known)} classes: {known}"
        raise HookError(Fault(message, TRAIN_FILE, advice="return one name for each, in this order"))
    if names != known and sorted(names) == sorted(known):
        message = f"get_classes returns {names}, but predict_proba's columns are {known}"
        advice = "return [str(name) for name in model.classes_]"
        raise HookError(Fault(message, TRAIN_FILE, advice=advice))
    return tuple(names)


def _label_form(model: Any, transformed: Any, classes: Sequence[str]) -> LabelForm:
    if not classes:
        return "names"
    with calling("predict"):
        labels = model.predict(transformed)
        has_probabilities = hasattr(model, "predict_proba")
        probabilities = model.predict_proba(transformed) if has_probabilities else None
    rows = row_count(transformed)
    check_rows(labels, rows, "predict")
    if probabilities is not None:
        probabilities = probability_matrix(probabilities, rows, len(classes))
    return predicted_form(labels, probabilities, model, classes)


def evaluated_form(predictions: Predictions, classes: Sequence[str]) -> NDArray[Any]:
    """Predictions in the form of the evaluation: positions among `classes`, or numbers if there are none."""
    if not classes:
        return np.asarray(predictions.values, dtype=np.float64)
    position = {name: index for index, name in enumerate(classes)}
    return np.asarray([position[str(name)] for name in predictions.values], dtype=np.intp)


def seed_everything(seed: int) -> None:
    """Seed the global generators, which scikit-learn uses unless a hook sets `random_state`."""
    random.seed(seed)
    np.random.seed(seed)
