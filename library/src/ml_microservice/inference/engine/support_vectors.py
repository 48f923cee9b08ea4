"""Support vector machines with a kernel, as libsvm computes them: one sum over the vectors for each pair of classes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix, is_finite, refuse_non_finite
from ml_microservice.inference.engine.estimator import SelfContained
from ml_microservice.inference.engine.heads import Answer
from ml_microservice.inference.engine.pairwise import coupled

CHUNK = 1_000_000
"""Differences computed at a time, which bounds the memory of a large batch."""


@dataclass(frozen=True)
class Kernel:
    """How alike two rows are."""

    kind: Literal["linear", "poly", "rbf", "sigmoid"]
    gamma: float
    offset: float
    degree: int

    def __call__(self, matrix: Matrix, vectors: Matrix) -> Matrix:
        """Shape (rows, vectors)."""
        if self.kind == "rbf":
            return np.exp(-self.gamma * _squared_distances(matrix, vectors))
        products = _products(matrix, vectors)
        if self.kind == "linear":
            return products
        scaled = self.gamma * products + self.offset
        return np.tanh(scaled) if self.kind == "sigmoid" else _power(scaled, self.degree)


@dataclass(frozen=True)
class SupportVectors(SelfContained):
    """`SVC`, `NuSVC`, `SVR` and `NuSVR`."""

    vectors: Matrix
    """Shape (vectors, k)."""
    kernel: Kernel
    members: tuple[NDArray[np.intp], ...]
    """The vectors of each pair of classes, which are (0, 1), (0, 2), ..., (1, 2), ...; all of them for a regression."""
    coefficients: tuple[Matrix, ...]
    """Of the members of each pair."""
    intercept: Matrix
    """Shape (pairs,)."""
    classes: int
    """0 for a regression."""
    slopes: Matrix | None
    """Shape (pairs,): of the sigmoid that makes probabilities, where the model has them."""
    offsets: Matrix | None

    def __call__(self, matrix: Matrix) -> Answer:
        """The answer to rows of shape (rows, k).

        Raises:
            ValueError: NaN or infinity, which scikit-learn refuses.
        """
        refuse_non_finite(matrix)
        kernel = self.kernel(matrix, self.vectors)
        pairs = zip(self.members, self.coefficients, strict=True)
        scores = np.stack([_in_order(kernel[:, members] * factors) for members, factors in pairs], axis=1)
        scores += self.intercept
        if not self.classes:
            return Answer(scores[:, 0], None)
        winners = _most_voted(scores, self.classes)
        if self.slopes is None or self.offsets is None:
            return Answer(winners, None)
        return Answer(winners, coupled(scores * self.slopes + self.offsets, self.classes))


def _in_order(terms: Matrix) -> Matrix:
    """The sum of each row, added one after the other as libsvm does, so that it overflows where libsvm's does."""
    return np.asarray(np.add.accumulate(terms, axis=1)[:, -1])


def _squared_distances(matrix: Matrix, vectors: Matrix) -> Matrix:
    """From differences, because sums of squares less products would lose what is small."""
    result = np.empty((len(matrix), len(vectors)))
    step = max(1, CHUNK // vectors.size)
    for start in range(0, len(matrix), step):
        apart = matrix[start : start + step, np.newaxis, :] - vectors
        result[start : start + step] = np.einsum("rvk,rvk->rv", apart, apart)
    return result


def _products(matrix: Matrix, vectors: Matrix) -> Matrix:
    """Shape (rows, vectors); one that overflows becomes what the order of addition makes of it, in libsvm `ddot`'s."""
    products = matrix @ vectors.T
    if not is_finite(products):
        for row in np.flatnonzero(~np.isfinite(products).all(axis=1)):
            products[row] = [np.dot(matrix[row], vector) for vector in vectors]
    return products


def _power(base: Matrix, exponent: int) -> Matrix:
    """By squaring, as libsvm does."""
    result = np.ones_like(base)
    while exponent > 0:
        if exponent % 2:
            result *= base
        base = base * base
        exponent //= 2
    return result


def _most_voted(scores: Matrix, classes: int) -> NDArray[np.intp]:
    votes = np.zeros((len(scores), classes), dtype=np.intp)
    firsts, seconds = np.triu_indices(classes, 1)
    for pair, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        wins = scores[:, pair] > 0
        votes[:, first] += wins
        votes[:, second] += ~wins
    return np.asarray(votes.argmax(axis=1))
