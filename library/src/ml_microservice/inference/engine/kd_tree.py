"""scikit-learn's k-d tree, searched as scikit-learn does: depth first, the closer half first, into a heap.

It is used where distances are equal. Then the order of the search and the shape of the heap decide which of the
points remain; see `sklearn/neighbors/_binary_tree.pxi.tp` and `sklearn/utils/_heap.pyx`.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix


@dataclass(frozen=True)
class KdTree:
    """The tree over the points: node 0 is the root, the halves of node i are the nodes 2i + 1 and 2i + 2."""

    power: int
    """1 for the distance along the axes, 2 for the straight one."""
    order: NDArray[np.intp]
    """The points, those of a node next to each other."""
    starts: NDArray[np.intp]
    """Where the points of each node start in `order`."""
    ends: NDArray[np.intp]
    leaf: NDArray[np.bool_]
    """Whether a node has no halves."""
    low: Matrix
    """Shape (nodes, k): the corners of the box around each node's points."""
    high: Matrix

    def distances(self, matrix: Matrix, points: Matrix) -> Matrix:
        """Reduced distances (squares of straight ones), shape (rows, points), added column after column."""
        total = np.zeros((len(matrix), len(points)))
        with np.errstate(over="ignore"):
            for column in range(points.shape[1]):
                apart = matrix[:, column, np.newaxis] - points[:, column]
                total += apart * apart if self.power == 2 else np.abs(apart)
        return total

    def unreduced(self, reduced: Matrix) -> Matrix:
        """Distances."""
        return np.sqrt(reduced) if self.power == 2 else reduced

    def nearest(self, row: Matrix, distances: Matrix, count: int) -> tuple[list[float], list[int]]:
        """The nearest points of a row, given its distances from all: their distances and positions, in no order."""
        heap = _Heap(count)
        self._search(0, self._box(0, row), row, distances, heap)
        return heap.values, heap.points

    def _search(self, node: int, bound: float, row: Matrix, distances: Matrix, heap: "_Heap") -> None:
        if bound > heap.values[0]:
            return
        if self.leaf[node]:
            for point in self.order[self.starts[node] : self.ends[node]].tolist():
                heap.push(float(distances[point]), point)
            return
        halves = [(self._box(half, row), half) for half in (2 * node + 1, 2 * node + 2)]
        if not halves[0][0] <= halves[1][0]:
            halves.reverse()
        for closest, half in halves:
            self._search(half, closest, row, distances, heap)

    def _box(self, node: int, row: Matrix) -> float:
        """The reduced distance of a row from a node's box."""
        with np.errstate(over="ignore"):
            below, above = self.low[node] - row, row - self.high[node]
            apart = 0.5 * ((below + np.abs(below)) + (above + np.abs(above)))
            return float(np.add.accumulate(apart**self.power)[-1])


class _Heap:
    """The nearest points so far, the furthest of them first; until it is full it holds point 0, infinitely far."""

    def __init__(self, size: int) -> None:
        self.values = [inf] * size
        self.points = [0] * size

    def push(self, value: float, point: int) -> None:
        """Take a point in place of the furthest, if it is closer."""
        values, points = self.values, self.points
        if value >= values[0]:
            return
        size, place = len(values), 0
        while True:
            child = 2 * place + 1
            if child >= size:
                break
            if child + 1 < size and values[child] < values[child + 1]:
                child += 1
            if not value < values[child]:
                break
            values[place], points[place] = values[child], points[child]
            place = child
        values[place], points[place] = value, point
