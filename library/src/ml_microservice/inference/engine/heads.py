"""Heads turn scores into predictions: link functions, probabilities and classes, computed as scikit-learn does."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix

Kind = Literal["value", "exp", "sigmoid", "softmax", "ovr", "joint", "margin", "probabilities"]


@dataclass(frozen=True)
class Estimates:
    """What an estimator says of some rows, before classes have names."""

    values: NDArray[np.intp] | Matrix
    """Shape (rows,): positions among the model's classes, or numbers."""
    probabilities: Matrix | None
    """Shape (rows, classes)."""


@dataclass(frozen=True)
class Head:
    """How scores of shape (rows, m) become predictions."""

    kind: Kind
    """`value` and `exp` are regressions. `margin` is a classifier without probabilities. The scores of `joint` are the
    logarithms of joint likelihoods."""
    zero_is_positive: bool = False
    """Whether a score of exactly 0 means the second of two classes."""
    by_probability: bool = False
    """Whether the largest probability wins, not the largest score: rounding can make probabilities equal."""
    slope: float = 1.0
    """Factor of the score inside a sigmoid."""

    def __call__(self, scores: Matrix) -> Estimates:
        """Predictions from scores, which may be overwritten."""
        match self.kind:
            case "value":
                return Estimates(scores[:, 0], None)
            case "exp":
                return Estimates(np.exp(scores[:, 0]), None)
            case "probabilities":
                return Estimates(scores.argmax(axis=1), scores)
            case "margin":
                return Estimates(self._winner(scores), None)
            case "sigmoid":
                return self._of_two(scores)
            case "softmax":
                winner, probabilities = scores.argmax(axis=1), softmax(scores)
                return Estimates(probabilities.argmax(axis=1) if self.by_probability else winner, probabilities)
            case "joint":
                return Estimates(scores.argmax(axis=1), np.exp(scores - _log_sum_exp(scores)))
            case "ovr":
                return Estimates(scores.argmax(axis=1), _normalised(sigmoid(scores)))

    def _winner(self, scores: Matrix) -> NDArray[np.intp]:
        if scores.shape[1] > 1:
            return np.asarray(scores.argmax(axis=1))
        positive = scores[:, 0] >= 0 if self.zero_is_positive else scores[:, 0] > 0
        return positive.astype(np.intp)

    def _of_two(self, scores: Matrix) -> Estimates:
        probabilities = np.empty((len(scores), 2))
        probabilities[:, 1] = sigmoid(scores[:, 0] if self.slope == 1.0 else self.slope * scores[:, 0])
        np.subtract(1.0, probabilities[:, 1], out=probabilities[:, 0])
        winner = probabilities.argmax(axis=1) if self.by_probability else self._winner(scores)
        return Estimates(winner, probabilities)


def sigmoid(scores: Matrix) -> Matrix:
    """1 / (1 + exp(-x)), without the warning where exp would overflow; within 1 ulp of `scipy.special.expit`."""
    odds = np.exp(np.minimum(np.negative(scores), 709.0))
    odds += 1.0
    return np.reciprocal(odds, out=odds)


def softmax(scores: Matrix) -> Matrix:
    """The softmax of `sklearn.utils.extmath`."""
    scores = scores - scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _log_sum_exp(scores: Matrix) -> Matrix:
    """The `_logsumexp` of `sklearn.utils._array_api`, shape (rows, 1): the largest terms are added apart."""
    largest = scores.max(axis=1, keepdims=True)
    is_largest = scores == largest
    times = is_largest.sum(axis=1, keepdims=True, dtype=np.float64)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    others = np.exp(np.where(is_largest, -np.inf, scores) - shift).sum(axis=1, keepdims=True)
    others = np.where(others == 0, others, others / times)
    return np.asarray(np.log1p(others) + np.log(times) + largest)


def _normalised(probabilities: Matrix) -> Matrix:
    """Normalise one-against-rest probabilities as `LinearClassifierMixin._predict_proba_lr` does."""
    total = probabilities.sum(axis=1)
    nothing = total == 0
    if nothing.any():
        probabilities[nothing] = 1.0
        total[nothing] = probabilities.shape[1]
    probabilities /= total[:, np.newaxis]
    return probabilities
