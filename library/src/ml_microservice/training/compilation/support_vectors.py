"""scikit-learn's support vector machines with a kernel."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.support_vectors import Kernel, SupportVectors
from ml_microservice.training.compilation.estimators import CompiledEstimator, Compiler
from ml_microservice.training.compilation.refusal import Refusal

Pairs = tuple[tuple[NDArray[np.intp], ...], tuple[Matrix, ...]]
"""Vectors, and their coefficients, for each pair of classes."""


def _support_vectors(model: Any) -> CompiledEstimator:
    name = type(model).__name__
    if model.kernel not in ("linear", "poly", "rbf", "sigmoid"):
        raise Refusal(f"{name} has the kernel {model.kernel!r}")
    if getattr(model, "break_ties", False):
        raise Refusal(f"{name} breaks ties (break_ties)")
    kernel = Kernel(model.kernel, float(model._gamma), float(model.coef0), int(model.degree))
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    dual = _dense(model._dual_coef_)
    members, coefficients = _by_pair(dual, model._n_support) if classes else _of_all(dual)
    has_probabilities = bool(classes) and model._probA.size > 0
    estimator = SupportVectors(
        vectors=_dense(model.support_vectors_),
        kernel=kernel,
        members=members,
        coefficients=coefficients,
        intercept=np.asarray(model._intercept_, dtype=np.float64),
        classes=classes,
        slopes=np.asarray(model._probA) if has_probabilities else None,
        offsets=np.asarray(model._probB) if has_probabilities else None,
    )
    return CompiledEstimator(estimator)


def _of_all(dual: Matrix) -> Pairs:
    return (np.arange(dual.shape[1]),), (dual[0],)


def _by_pair(dual: Matrix, counts: Any) -> Pairs:
    """libsvm keeps, for each vector, one coefficient against every other class."""
    ends = np.cumsum(counts)
    of_class = [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
    members, coefficients = [], []
    for first, second in combinations(range(len(counts)), 2):
        members.append(np.concatenate([of_class[first], of_class[second]]))
        coefficients.append(np.concatenate([dual[second - 1, of_class[first]], dual[first, of_class[second]]]))
    return tuple(members), tuple(coefficients)


def _dense(matrix: Any) -> Matrix:
    return np.ascontiguousarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


SUPPORT_VECTORS: dict[type, Compiler] = dict.fromkeys((SVC, NuSVC, SVR, NuSVR), _support_vectors)
