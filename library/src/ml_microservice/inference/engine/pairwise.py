"""Probabilities of classes from probabilities of pairs of classes, as libsvm couples them (Wu, Lin and Weng 2004).

The iteration stops early, at an error of 0.005, so that its steps and their order are part of the answer.
"""

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix

LEAST = 1e-7
"""The smallest probability of a pair."""


def coupled(exponents: Matrix, classes: int) -> Matrix:
    """Probabilities of shape (rows, classes) from the sigmoids' exponents of each pair, shape (rows, pairs)."""
    rows = len(exponents)
    pairs = np.zeros((rows, classes, classes))
    firsts, seconds = np.triu_indices(classes, 1)
    pairs[:, firsts, seconds] = np.fmin(np.fmax(_falling_sigmoid(exponents), LEAST), 1.0 - LEAST)
    pairs[:, seconds, firsts] = 1.0 - pairs[:, firsts, seconds]
    form = _quadratic_form(pairs)
    result = np.full((rows, classes), 1.0 / classes)
    open_rows = np.arange(rows)
    for _ in range(max(100, classes)):
        gradient = _products(form[open_rows], result[open_rows])
        value = _sums(result[open_rows] * gradient)
        open_ = ~(np.abs(gradient - value[:, np.newaxis]).max(axis=1) < 0.005 / classes)
        open_rows = open_rows[open_]
        if not len(open_rows):
            break
        result[open_rows] = _step(form[open_rows], result[open_rows], gradient[open_], value[open_])
    return result


def _step(form: Matrix, result: Matrix, gradient: Matrix, value: NDArray[np.float64]) -> Matrix:
    """One round over the classes."""
    for at in range(result.shape[1]):
        curvature = form[:, at, at]
        change = (-gradient[:, at] + value) / curvature
        result[:, at] += change
        value = (value + change * (change * curvature + 2.0 * gradient[:, at])) / (1.0 + change) / (1.0 + change)
        total = (1.0 + change)[:, np.newaxis]
        gradient = (gradient + change[:, np.newaxis] * form[:, at, :]) / total
        result /= total
    return result


def _falling_sigmoid(exponents: Matrix) -> Matrix:
    """1 / (1 + exp(x)), without cancellation."""
    small = np.exp(-np.abs(exponents))
    return np.where(exponents >= 0, small / (1.0 + small), 1.0 / (1.0 + small))


def _quadratic_form(pairs: Matrix) -> Matrix:
    """Shape (rows, classes, classes)."""
    classes = pairs.shape[1]
    form = -np.swapaxes(pairs, 1, 2) * pairs
    for at in range(classes):
        form[:, at, at] = _sums(pairs[:, [other for other in range(classes) if other != at], at] ** 2)
    return form


def _products(form: Matrix, result: Matrix) -> Matrix:
    return np.add.accumulate(form * result[:, np.newaxis, :], axis=2)[:, :, -1]


def _sums(terms: Matrix) -> NDArray[np.float64]:
    """Over the last axis, one after the other."""
    return np.asarray(np.add.accumulate(terms, axis=-1)[..., -1])
