"""Judging a model on held-out rows, beside a baseline that only knows the training target."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor

from ml_microservice.evaluation.calibration import calibration_bins
from ml_microservice.evaluation.result import ClassificationDetails, ClassScores, Evaluation, RegressionDetails
from ml_microservice.evaluation.scores import Floats, Indices, classification_scores, regression_scores

RESIDUAL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def evaluate_classification(
    truth: Indices, predicted: Indices, probabilities: Floats | None, classes: Sequence[str], train_truth: Indices
) -> Evaluation:
    """Judge a classifier; of two classes the second is the positive one.

    Args:
        truth: (n,) indices into `classes`, as are `predicted` (n,) and `train_truth` (m,).
        probabilities: (n, k) in the order of `classes`, where the model gives any.

    Raises:
        ValueError: there are no rows, or shapes differ, or a probability is not finite.
    """
    _require_rows(truth, predicted, train_truth)
    if probabilities is not None:
        expected = (len(truth), len(classes))
        _require(probabilities.shape == expected, f"probabilities are {probabilities.shape}, not {expected}")
        _require(bool(np.isfinite(probabilities).all()), "a probability is not finite")
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(train_truth), 1)), train_truth)
    most_frequent = int(dummy.classes_[dummy.class_prior_.argmax()])
    priors = np.zeros(len(classes))
    priors[dummy.classes_] = dummy.class_prior_
    guesses = np.full(truth.shape, most_frequent)
    prior_rows = None if probabilities is None else np.tile(priors, (len(truth), 1))
    confusion = np.zeros((len(classes), len(classes)), dtype=np.intp)
    np.add.at(confusion, (truth, predicted), 1)
    right = predicted == truth
    confidence = None if probabilities is None else probabilities[np.arange(len(truth)), predicted]
    return Evaluation(
        task="classification",
        n_train=len(train_truth),
        n_test=len(truth),
        metrics=classification_scores(truth, predicted, probabilities),
        baseline=classification_scores(truth, guesses, prior_rows),
        headline_interval=_wilson_interval(int(right.sum()), len(right)),
        details=ClassificationDetails(
            classes=tuple(classes),
            most_frequent=classes[most_frequent],
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            per_class=tuple(_class_scores(name, confusion, index) for index, name in enumerate(classes)),
            calibration=() if confidence is None else calibration_bins(confidence, right),
        ),
    )


def evaluate_regression(truth: Floats, predicted: Floats, train_truth: Floats) -> Evaluation:
    """Judge a regressor: `truth` (n,) and `predicted` (n,) on the held-out rows, `train_truth` (m,) for the baseline.

    Raises:
        ValueError: there are no rows, or shapes differ, or a value is not finite.
    """
    _require_rows(truth, predicted, train_truth)
    _require(bool(np.isfinite(truth).all() and np.isfinite(predicted).all()), "a value is not finite")
    dummy = DummyRegressor(strategy="mean").fit(np.zeros((len(train_truth), 1)), train_truth)
    guesses = dummy.predict(np.zeros((len(truth), 1)))
    quantiles = np.quantile(truth - predicted, RESIDUAL_QUANTILES)
    return Evaluation(
        task="regression",
        n_train=len(train_truth),
        n_test=len(truth),
        metrics=regression_scores(truth, predicted),
        baseline=regression_scores(truth, guesses),
        headline_interval=_mean_interval(np.abs(truth - predicted)),
        details=RegressionDetails(
            train_mean=float(guesses[0]),
            residual_quantiles={str(q): float(value) for q, value in zip(RESIDUAL_QUANTILES, quantiles, strict=True)},
        ),
    )


def _class_scores(name: str, confusion: Indices, index: int) -> ClassScores:
    hits, support, answered = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    return ClassScores(
        name=name,
        precision=hits / answered if answered else None,
        recall=hits / support if support else None,
        f1=2 * hits / (support + answered) if support + answered else None,
        support=support,
    )


def _wilson_interval(right: int, rows: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, which stays within 0 and 1 and is honest about few rows."""
    share, weight = right / rows, z * z / rows
    half = z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows))
    low, high = ((share + weight / 2 + sign * half) / (1 + weight) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def _mean_interval(errors: Floats, z: float = 1.96) -> tuple[float, float] | None:
    if len(errors) < 2:
        return None
    mean, half = float(errors.mean()), z * float(errors.std(ddof=1)) / math.sqrt(len(errors))
    return max(mean - half, 0.0), mean + half


def _require_rows(truth: NDArray[Any], predicted: NDArray[Any], train_truth: NDArray[Any]) -> None:
    _require(len(truth) > 0 and len(train_truth) > 0, "there are no rows to evaluate on")
    _require(truth.shape == predicted.shape, f"{predicted.shape} predictions for {truth.shape} rows")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
