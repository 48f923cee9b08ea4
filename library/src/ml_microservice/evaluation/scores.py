"""The value of every metric, from true and predicted values."""

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]
Scores = dict[str, float | None]
"""Values by metric name; None where a metric is undefined on these rows."""


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
