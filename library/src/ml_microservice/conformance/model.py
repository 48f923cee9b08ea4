"""Checks of the model: it trains, it predicts a row alike in every context, and it can be stored."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import joblib
import numpy as np

from ml_microservice.artefact.writer import pickled
from ml_microservice.conformance.context import ALONE_ROWS, Context, quietly
from ml_microservice.conformance.equality import differing
from ml_microservice.conformance.wording import given
from ml_microservice.errors import Fault, HookError
from ml_microservice.inference.predictor import Predictions, PythonPredictor
from ml_microservice.training.fitted_model import fit_model, seed_everything
from ml_microservice.training.golden import as_request
from ml_microservice.training.hooks import TRAIN_FILE, calling, fresh_package

ON_SELF = "keep all that is learned on the object itself: a module's variables are not stored with it"


def check_train(context: Context) -> Iterator[Fault]:
    """Train a model on the transformed training rows."""
    seed_everything(context.seed)
    context.model = fit_model(context.hooks, context.prepared.transformed, context.split.train_target)
    yield from ()


def check_alone(context: Context) -> Iterator[Fault]:
    """Predict the same rows again, one at a time, and as requests."""
    rows = context.probe.iloc[:ALONE_ROWS]
    expected = context.predict(rows)
    random = _difference(expected, context.predict(rows), "{} and, the second time it is asked, {}")
    if random:
        advice = "it draws at random while it predicts: switch dropout and sampling off once it is trained"
        yield Fault(f"predict answers the same row {random}", TRAIN_FILE, advice=advice)
        return
    among = _head(context.predict(context.probe), len(rows))
    company = _difference(
        _joined([context.predict(rows.iloc[[row]]) for row in range(len(rows))]), among, "{} alone, {}"
    )
    if company:
        message = f"predict answers the same row {company} among {len(context.probe)}"
        advice = "a row's answer may not depend on the other rows: switch batch statistics to those of training"
        yield Fault(message, TRAIN_FILE, advice=advice)
        return
    records = rows.to_dict(orient="records")
    requested = context.requests.frame([as_request(record, context.spec) for record in records])
    transport = _difference(context.predict(requested), expected, "{} as a request, {} as it was in training")
    if transport:
        advice = "let the model use nothing but the values that transform returns, neither index nor order"
        yield Fault(f"predict answers the same row {transport}", TRAIN_FILE, advice=advice)


def check_storing(context: Context) -> Iterator[Fault]:
    """Pickle the Preprocessor and the model."""
    for hook, made in (("Preprocessor", context.prepared.preprocessor), ("train_model", context.model)):
        try:
            with quietly(), calling(f"storing what {hook} made"):
                context.stored[hook] = pickled(made, hook)
        except HookError as error:
            yield from error.faults


def check_reading(context: Context) -> Iterator[Fault]:
    """Read Preprocessor and model back and predict with them.

    The package `model` is imported again, as in a new process. Libraries are not, because that would take seconds.
    """
    fitted = context.fitted
    made: list[Any] = []
    with fresh_package(), quietly():
        for hook, content in context.stored.items():
            try:
                with calling(f"reading back what {hook} made"):
                    made.append(joblib.load(io.BytesIO(content)))
            except HookError as error:
                yield replace(error.faults[0], advice=ON_SELF)
                return
        predictor = PythonPredictor(context.layout, made[0], made[1], fitted.classes, fitted.label_form)
        try:
            with calling("predict"):
                answers = predictor.predict_frame(context.probe.copy())
        except HookError as error:
            yield given(error, "predict", "rows after it was stored and read back", ON_SELF)
            return
    change = _difference(context.predict(context.probe), answers, "{} before and {}")
    if change:
        yield Fault(
            f"predict answers the same row {change} after it was stored and read back", TRAIN_FILE, advice=ON_SELF
        )


def _difference(left: Predictions, right: Predictions, words: str) -> str | None:
    """Describe the first row whose predictions differ; None if all are equal."""
    rows = differing(left, right)
    return words.format(_shown(left, rows[0]), _shown(right, rows[0])) if rows else None


def _shown(predictions: Predictions, row: int) -> str:
    value = predictions.values[row]
    if predictions.probabilities is None:
        return f"{value!r}"
    return f"{value!r} (highest probability {predictions.probabilities[row].max():.4g})"


def _joined(parts: Sequence[Predictions]) -> Predictions:
    matrices = [part.probabilities for part in parts if part.probabilities is not None]
    values = [value for part in parts for value in part.values]
    return Predictions(values, np.concatenate(matrices) if matrices else None)


def _head(predictions: Predictions, rows: int) -> Predictions:
    probabilities = predictions.probabilities
    return Predictions(predictions.values[:rows], None if probabilities is None else probabilities[:rows])
