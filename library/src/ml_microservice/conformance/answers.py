"""Checks of the model's predictions: they can be served, and the classes have the right names."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ml_microservice.conformance.context import Context
from ml_microservice.errors import Fault, listed
from ml_microservice.training.fitted_model import finish
from ml_microservice.training.hooks import TRAIN_FILE

JUDGED_ROWS = 5_000
"""The most training rows by which the names of the classes are judged."""
ROUNDING = 1e-3
"""The largest distance from 1 of a sum of probabilities; single precision stays below it."""
CERTAIN = 5.0
"""The difference of two correlations that counts as certain, in standard errors of unrelated values."""
FEW = 5
"""The fewest rows of a class by which its column is judged."""


def check_answers(context: Context) -> Iterator[Fault]:
    """Run get_classes, and predict the held-out rows as the evaluation does."""
    split = context.split
    context.fitted = finish(context.hooks, context.prepared, context.model, split, context.spec, context.layout)
    predictions = context.predict(split.test)
    for target in (split.train_target, split.test_target):
        context.fitted.truth(target)
    if predictions.probabilities is not None:
        sums = predictions.probabilities.sum(axis=1)
        wrong = np.flatnonzero(np.abs(sums - 1) > ROUNDING)
        if len(wrong):
            message = f"predict_proba returns rows that add up to {sums[wrong[0]]:.4g} instead of 1"
            message += f", {len(wrong)} of {len(sums)}"
            yield Fault(message, TRAIN_FILE, advice="divide them: p / p.sum(axis=1, keepdims=True)")


def check_naming(context: Context) -> Iterator[Fault]:
    """Compare the name of each column of probabilities with the classes of the rows on which it is high.

    This needs predict or the training frame to name the classes as get_classes does. Nothing can be judged if both use
    numbers where get_classes has names.
    """
    fitted, classes = context.fitted, context.fitted.classes
    if not classes:
        return
    split = context.split
    rows = np.random.default_rng(context.seed).permutation(len(split.train))[:JUDGED_ROWS]
    predictions = context.predict(split.train.iloc[rows])
    answers, columns = fitted.answers(predictions), predictions.probabilities
    witnesses: dict[str, NDArray[np.intp]] = {}
    if columns is None:
        columns = np.eye(len(classes))[answers]
    elif fitted.label_form == "names":
        witnesses["that predict calls"] = answers
    if fitted.target_form == "names":
        witnesses["of"] = fitted.truth(split.train_target.iloc[rows])
    for words, named in witnesses.items():
        wrong = misnamed(named, columns)
        if wrong:
            pairs = [
                f"the one that it calls {classes[j]!r} is high on rows {words} {classes[c]!r}" for j, c in wrong.items()
            ]
            message = f"get_classes returns {list(classes)}, which is not the order of the columns: {listed(pairs, 4)}"
            advice = "return the names as the model numbers them: with a LabelEncoder, list(encoder.classes_)"
            yield Fault(message, TRAIN_FILE, advice=advice)
            return


def misnamed(named: NDArray[np.intp], columns: NDArray[np.float64]) -> dict[int, int]:
    """The columns that clearly belong to another class than the one at their position, with that class.

    Args:
        named: for each row, the position of its class.
        columns: for each row, its probabilities.

    A column should be higher on rows of its own class than on others. This holds for weak models too, and for models
    whose predict is not the argmax, such as a model with a threshold for a rare class. So the check does not compare
    predict with the highest probability.
    """
    count, width = columns.shape
    own = np.eye(width)[named]
    correlation = _standardised(own).T @ _standardised(columns)  # class by column
    stands_for, itself = correlation.argmax(axis=0), correlation.diagonal()
    gain = correlation.max(axis=0) - itself
    frequent = own.sum(axis=0)[stands_for] >= FEW
    clear = frequent & (itself < 0) & (gain > CERTAIN / np.sqrt(count))
    return {int(column): int(stands_for[column]) for column in np.flatnonzero(clear)}


def _standardised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale columns to mean 0 and length 1; a constant column becomes 0."""
    centred = matrix - matrix.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    return np.asarray(centred / np.where(length > 1e-12, length, 1.0))
