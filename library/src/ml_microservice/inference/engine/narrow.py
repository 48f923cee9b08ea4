"""Tree ensembles in float32, as XGBoost computes them: every addition is rounded, so that its order matters.

An ONNX graph finds the leaf of each tree that a row falls into. numpy adds these leaves in float32, tree after tree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Estimates
from ml_microservice.inference.engine.trees import ONNX_FILE, session

Floats = NDArray[np.float32]
TINY = np.float32(1e-16)
"""The number that XGBoost adds to the denominator of a sigmoid."""
LEAST_POWER, LARGEST_POWER = np.float32(-200.0), np.float32(200.0)
"""Bounds of x beyond which exp(x) is 0 or infinite in float32."""
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
CUBIC = float.fromhex("0x1.c6af84b912394p-5") / 32**3
SQUARE = float.fromhex("0x1.ebfce50fac4f3p-3") / 32**2
LINEAR = float.fromhex("0x1.62e42ff0c52d6p-1") / 32
ROOTS = np.exp2(np.arange(32) / 32)


@dataclass(frozen=True)
class NarrowTrees:
    """XGBoost's trees."""

    leaves: Floats
    """Shape (leaves,)."""
    groups: NDArray[np.intp]
    """Shape (trees,): the output that each tree adds to."""
    base: Floats
    """Shape (outputs,), to which the trees are added."""
    link: Literal["value", "sigmoid", "softmax", "exp"]

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Estimates]:
        """See `Estimator`."""
        return BoundNarrowTrees(self, session(files[ONNX_FILE]))


class BoundNarrowTrees:
    """An ensemble with its ONNX session."""

    def __init__(self, trees: NarrowTrees, run: Callable[[Matrix], Matrix]) -> None:
        self._trees = trees
        self._run = run
        self._members = [np.flatnonzero(trees.groups == group) for group in range(len(trees.base))]

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k); XGBoost refuses no row, and reads numbers beyond float32 as infinite."""
        trees = self._trees
        with np.errstate(over="ignore"):
            narrow = matrix.astype(np.float32).astype(np.float64)
        found = self._run(narrow).astype(np.intp)
        scores = np.stack([self._sum(found[:, at], group) for group, at in enumerate(self._members)], axis=1)
        match trees.link:
            case "sigmoid":
                positive = _sigmoid(scores[:, 0])
                both = np.stack([np.float32(1) - positive, positive], axis=1)
                return Estimates((positive > 0.5).astype(np.intp), both.astype(np.float64))
            case "softmax":
                return Estimates(scores.argmax(axis=1), _softmax(scores).astype(np.float64))
            case "exp":
                return Estimates(_exp(scores[:, 0]).astype(np.float64), None)
            case "value":
                return Estimates(scores[:, 0].astype(np.float64), None)

    def _sum(self, found: NDArray[np.intp], group: int) -> Floats:
        terms = np.empty((len(found), found.shape[1] + 1), dtype=np.float32)
        terms[:, 0] = self._trees.base[group]
        terms[:, 1:] = self._trees.leaves[found]
        # `sum` adds pairwise; `accumulate` adds one after the other.
        total: Any = np.add.accumulate(terms, axis=1)[:, -1]
        return total  # type: ignore[no-any-return]


def _exp(values: Floats) -> Floats:
    """The C library's `expf`, which XGBoost calls; numpy's `exp` rounds differently.

    It is computed in float64 as 2**(k / 32) times a polynomial (`sysdeps/ieee754/flt-32/e_expf.c`).
    """
    scaled = np.clip(values, LEAST_POWER, LARGEST_POWER).astype(np.float64) * (32 * LOG2_E)
    nearest = np.rint(scaled)
    rest, whole = scaled - nearest, nearest.astype(np.int32)
    power = np.ldexp(ROOTS[whole % 32], whole // 32)
    with np.errstate(over="ignore"):
        return (((CUBIC * rest + SQUARE) * (rest * rest) + (LINEAR * rest + 1.0)) * power).astype(np.float32)


def _sigmoid(scores: Floats) -> Floats:
    """The `Sigmoid` of XGBoost's `src/common/math.h`."""
    exponent = np.minimum(-scores, np.float32(88.7))
    return np.float32(1) / (_exp(exponent) + np.float32(1) + TINY)


def _softmax(scores: Floats) -> Floats:
    """The `Softmax` of XGBoost's `src/common/math.h`, which adds in float64."""
    powers = _exp(scores - scores.max(axis=1, keepdims=True))
    total = np.add.accumulate(powers.astype(np.float64), axis=1)[:, -1:].astype(np.float32)
    return powers / total
