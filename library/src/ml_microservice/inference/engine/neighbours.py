"""k nearest neighbours: all distances in numpy, and scikit-learn's own order of search where distances are equal.

Which of several equally distant points is a neighbour depends on the order in which scikit-learn's k-d tree comes by
them. Rows with such a tie are searched again through that tree (`kd_tree`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix, refuse_non_finite
from ml_microservice.inference.engine.estimator import SelfContained
from ml_microservice.inference.engine.heads import Answer
from ml_microservice.inference.engine.kd_tree import KdTree

CHUNK = 1_000_000
"""Distances computed at a time, which bounds the memory of a large batch."""


@dataclass(frozen=True)
class Neighbours(SelfContained):
    """`KNeighborsClassifier` and `KNeighborsRegressor` over a k-d tree."""

    points: Matrix
    """Shape (points, k): the rows of training."""
    targets: NDArray[np.intp] | Matrix
    """Shape (points,): the position of each row's class, or its number."""
    classes: int
    """0 for a regression."""
    count: int
    """How many neighbours."""
    weighted: bool
    """Whether neighbours count by the inverse of their distance."""
    tree: KdTree

    def __call__(self, matrix: Matrix) -> Answer:
        """The answer to rows of shape (rows, k).

        Raises:
            ValueError: what scikit-learn refuses too.
        """
        refuse_non_finite(matrix)
        step = max(1, CHUNK // len(self.points))
        found = [self._nearest(matrix[start : start + step]) for start in range(0, len(matrix), step)]
        weights = self._weights(np.concatenate([distances for distances, _ in found]))
        targets = self.targets[np.concatenate([nearest for _, nearest in found])]
        return self._classified(targets, weights) if self.classes else Answer(_averaged(targets, weights), None)

    def _nearest(self, matrix: Matrix) -> tuple[Matrix, NDArray[np.intp]]:
        """Reduced distances, ascending, and the points that they belong to, each of shape (rows, count)."""
        distances = self.tree.distances(matrix, self.points)
        nearest = np.argpartition(distances, self.count - 1, axis=1)[:, : self.count]
        chosen = np.take_along_axis(distances, nearest, axis=1)
        furthest = chosen.max(axis=1)
        tied = ((distances <= furthest[:, np.newaxis]).sum(axis=1) > self.count) | ~np.isfinite(furthest)
        for row in np.flatnonzero(tied):
            chosen[row], nearest[row] = self.tree.nearest(matrix[row], distances[row], self.count)
        order = np.argsort(chosen, axis=1, kind="stable")
        return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(nearest, order, axis=1)

    def _weights(self, reduced: Matrix) -> Matrix | None:
        """As `sklearn.neighbors._base._get_weights`: where a distance is 0, only such neighbours count."""
        if not self.weighted:
            return None
        with np.errstate(divide="ignore"):
            weights = 1.0 / self.tree.unreduced(reduced)
        same = np.isinf(weights)
        any_same = same.any(axis=1)
        weights[any_same] = same[any_same]
        return weights

    def _classified(self, labels: NDArray[Any], weights: Matrix | None) -> Answer:
        if weights is None:
            votes = np.stack([(labels == label).sum(axis=1) for label in range(self.classes)], axis=1)
            return Answer(votes.argmax(axis=1), votes / votes.sum(axis=1, keepdims=True))
        if (weights == 0).all(axis=1).any():
            raise ValueError("All neighbors of some sample is getting zero weights")
        # `predict` adds pairwise and `predict_proba` one after the other, so that they may break a tie otherwise.
        modes = np.stack([((labels == label) * weights).sum(axis=1) for label in range(self.classes)], axis=1)
        sums = np.zeros_like(modes)
        for place in range(labels.shape[1]):
            sums[np.arange(len(labels)), labels[:, place]] += weights[:, place]
        return Answer(modes.argmax(axis=1), sums / sums.sum(axis=1, keepdims=True))


def _averaged(values: NDArray[Any], weights: Matrix | None) -> Matrix:
    if weights is None:
        return np.asarray(values.mean(axis=1), dtype=np.float64)
    return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)
