"""scikit-learn's k nearest neighbours."""

from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from ml_microservice.inference.engine.kd_tree import KdTree
from ml_microservice.inference.engine.neighbours import Neighbours
from ml_microservice.training.compilation.estimators import CompiledEstimator, Compiler
from ml_microservice.training.compilation.refusal import Refusal

POWERS = {"manhattan": 1, "euclidean": 2}


def _neighbours(model: Any) -> CompiledEstimator:
    name, method, metric = type(model).__name__, model._fit_method, model.effective_metric_
    if method != "kd_tree":
        # Brute force takes products of matrices for distances, whose rounding depends on the size of the batch.
        raise Refusal(
            f"{name} searches by {method!r}, where rounding decides between equal distances: set algorithm='kd_tree'"
        )
    if metric not in POWERS:
        raise Refusal(f"{name} has the metric {metric!r}")
    if model.weights not in ("uniform", "distance", None):
        raise Refusal(f"{name} has weights of its own")
    points, order, nodes, boxes = (np.asarray(part) for part in model._tree.get_arrays())
    if points.dtype != np.float64:
        raise Refusal(f"{name} computes in {points.dtype}")
    targets = np.asarray(model._y)
    if targets.ndim != 1:
        raise Refusal(f"{name} has several outputs")
    tree = KdTree(
        power=POWERS[metric],
        order=order.astype(np.intp),
        starts=nodes["idx_start"].astype(np.intp),
        ends=nodes["idx_end"].astype(np.intp),
        leaf=nodes["is_leaf"].astype(np.bool_),
        low=boxes[0].copy(),
        high=boxes[1].copy(),
    )
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    weighted = model.weights == "distance"
    return CompiledEstimator(Neighbours(points, targets, classes, model.n_neighbors, weighted, tree))


NEIGHBOURS: dict[type, Compiler] = {KNeighborsClassifier: _neighbours, KNeighborsRegressor: _neighbours}
