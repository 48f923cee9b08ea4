"""How good a model is on rows it has not seen, beside a baseline that only knows the training target."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier, DummyRegressor

from ml_microservice.features.spec import Task

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]
Scores = dict[str, float | None]
"""Values by metric name; None where a metric is undefined on these rows."""

RESIDUAL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CALIBRATION_BINS = 10
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Metric:
    """One number that a model is judged by."""

    name: str
    title: str
    greater_is_better: bool
    meaning: str
    """One sentence for people who do not train models."""
    is_share: bool = False
    """Whether it is a share of rows, which people read as a percentage."""

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better than `other`."""
        return value > other if self.greater_is_better else value < other


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", True, "Share of rows for which the model gives the right answer.", True),
        Metric("balanced_accuracy", "Balanced accuracy", True, "Accuracy if every class counted the same.", True),
        Metric("macro_f1", "Macro F1", True, "How well each class is found without false alarms, from 0 to 1."),
        Metric("roc_auc", "ROC AUC", True, "How well the two classes are told apart: 0.5 is guessing, 1 is perfect."),
        Metric("log_loss", "Log loss", False, "Penalty for being sure and wrong; 0 is perfect."),
        Metric("mae", "Mean absolute error", False, "How far a prediction is off on average, in the target's unit."),
        Metric("rmse", "Root mean squared error", False, "As the mean error, with large mistakes counting more."),
        Metric("r2", "R²", True, "Share of the target's variation that is explained: 0 is guessing, 1 is perfect."),
    )
}
"""All metrics, in the order in which they are shown."""

METRICS_OF: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}
"""Those that there may be; ROC AUC takes two classes and probabilities, log loss takes probabilities."""

HEADLINE: dict[Task, str] = {"classification": "accuracy", "regression": "mae"}
"""The metric that a model is introduced with."""


@dataclass(frozen=True)
class ClassScores:
    """One class in the held-out rows; a score that would divide by zero is None."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class CalibrationBin:
    """The held-out rows whose answer was given with a probability in this range."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean probability of the answers given."""
    right: float
    """Share of those answers that are right."""


@dataclass(frozen=True)
class ClassificationDetails:
    """What the report shows of a classifier."""

    classes: tuple[str, ...]
    most_frequent: str
    """The class that the baseline always answers."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows by true class (outer) and predicted class (inner)."""
    per_class: tuple[ClassScores, ...]
    calibration: tuple[CalibrationBin, ...]
    """The bins that have rows, by rising probability; none without probabilities."""

    @property
    def calibration_error(self) -> float | None:
        """See the function of this name."""
        return calibration_error(self.calibration)


@dataclass(frozen=True)
class RegressionDetails:
    """What the report shows of a regressor; a residual is the true value minus the predicted one."""

    train_mean: float
    """The value that the baseline always answers."""
    residual_quantiles: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on the held-out rows."""

    task: Task
    n_train: int
    n_test: int
    metrics: Scores
    baseline: Scores
    """The same metrics of a model that ignores the features."""
    headline_interval: tuple[float, float] | None
    """95 % confidence interval of the headline metric; None where there are too few rows for one."""
    details: ClassificationDetails | RegressionDetails

    @property
    def headline(self) -> Metric:
        """The metric that the model is introduced with."""
        return METRICS[HEADLINE[self.task]]

    def beats_baseline(self, metric: str) -> bool | None:
        """Whether the model is strictly better than the baseline; None where either is undefined."""
        value, baseline = self.metrics.get(metric), self.baseline.get(metric)
        return None if value is None or baseline is None else METRICS[metric].better(value, baseline)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON data, in which null stands for what is undefined."""
        data: dict[str, Any] = _plain(asdict(self))
        return data


class Importance(NamedTuple):
    """How much worse the score gets when a feature's values are shuffled among the rows."""

    feature: str
    mean_drop: float
    std: float


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


def classification_scores(truth: Indices, predicted: Indices, probabilities: Floats | None) -> Scores:
    """The metrics of a classifier, on training's held-out rows or on rows in service.

    Args:
        truth: (n,) positions among the classes, as is `predicted` (n,).
        probabilities: (n, k), where there are any; of two classes the second is the positive one.
    """
    recalls = [float((predicted[truth == index] == index).mean()) for index in np.unique(truth)]
    scores: Scores = {
        "accuracy": float(sk.accuracy_score(truth, predicted)),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(sk.f1_score(truth, predicted, average="macro", zero_division=0)),
    }
    if probabilities is not None:
        if probabilities.shape[1] == 2:
            both = len(np.unique(truth)) == 2
            scores["roc_auc"] = float(sk.roc_auc_score(truth, probabilities[:, 1])) if both else None
        # Not sklearn's, which refuses a single class; the clipping is the same.
        chance = np.clip(probabilities[np.arange(len(truth)), truth], np.finfo(np.float64).eps, 1)
        scores["log_loss"] = float(-np.log(chance).mean())
    return scores


def regression_scores(truth: Floats, predicted: Floats) -> Scores:
    """The metrics of a regressor: `truth` (n,) and `predicted` (n,)."""
    varies = bool(np.ptp(truth) > 0)
    return {
        "mae": float(sk.mean_absolute_error(truth, predicted)),
        "rmse": float(sk.root_mean_squared_error(truth, predicted)),
        "r2": float(sk.r2_score(truth, predicted)) if varies else None,
    }


def calibration_bins(confidence: Floats, right: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """How often answers are right, by the probability (n,) that they were given with; the bins that have rows."""
    places = np.clip((confidence * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    return tuple(
        CalibrationBin(
            low=int(place) / CALIBRATION_BINS,
            high=(int(place) + 1) / CALIBRATION_BINS,
            rows=int((places == place).sum()),
            confidence=float(confidence[places == place].mean()),
            right=float(right[places == place].mean()),
        )
        for place in np.unique(places)
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """How far the stated probability is from the share of right answers, on average over rows; None without any."""
    rows = sum(item.rows for item in bins)
    return sum(item.rows * abs(item.confidence - item.right) for item in bins) / rows if rows else None


def feature_importance(
    predict: Callable[[pd.DataFrame], Answer],
    frame: pd.DataFrame,
    score: Callable[[Answer, Indices], float],
    seed: int,
    repeats: int = 5,
    max_rows: int = 2000,
) -> list[Importance]:
    """Permutation importance of the raw features, the most important first.

    Args:
        predict: what the model makes of a frame with the columns of `frame`.
        frame: (n, features); of more than `max_rows` rows a random sample is taken.
        score: greater is better; gets what `predict` returned, and the positions in `frame` of the rows it is for.
    """
    random = np.random.default_rng(seed)
    rows = np.arange(len(frame))
    if len(rows) > max_rows:
        rows = np.sort(random.choice(rows, max_rows, replace=False))
        frame = frame.iloc[rows]
    reference = score(predict(frame), rows)
    found = []
    for position, name in enumerate(frame.columns):
        drops = []
        for _ in range(repeats):
            shuffled = frame.copy()
            # The array, not the column: a column would be aligned by its index and come out unshuffled.
            shuffled.isetitem(position, frame.iloc[:, position].array.take(random.permutation(len(rows))))
            drops.append(reference - score(predict(shuffled), rows))
        found.append(Importance(str(name), float(np.mean(drops)), float(np.std(drops))))
    return sorted(found, key=lambda item: -item.mean_drop)


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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _require_rows(truth: NDArray[Any], predicted: NDArray[Any], train_truth: NDArray[Any]) -> None:
    _require(len(truth) > 0 and len(train_truth) > 0, "there are no rows to evaluate on")
    _require(truth.shape == predicted.shape, f"{predicted.shape} predictions for {truth.shape} rows")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
