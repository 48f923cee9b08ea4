"""Tree ensembles by ONNX Runtime: an ai.onnx.ml `TreeEnsemble` (opset 5) with thresholds and leaves in float64.

skl2onnx rounds thresholds to float32, which sends rows that lie on a threshold the other way; so
`training.compilation.forest` writes the graph itself. The session has one thread, because a pool of spinning threads
takes eight times the CPU time for the same speed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix, as_float32, refuse_infinite, refuse_non_finite
from ml_microservice.inference.engine.heads import Estimates, Head

ONNX_FILE = "engine.onnx"
CHUNK = 1_000_000
"""Leaf values that are looked up at once, which bounds the memory of a large batch."""


@dataclass(frozen=True)
class Trees:
    """A tree ensemble: its ONNX graph returns the sum of each target, or the leaf of each tree."""

    narrow: bool
    """Whether rows are rounded to float32 first, as in scikit-learn's trees and forests."""
    refuses: Literal["non-finite", "infinite", "nothing"]
    """Which elements of the matrix are refused."""
    base: Matrix
    """Shape (m,): added to the sum of the trees."""
    leaves: Matrix | None
    """Shape (leaves, m): the values of all leaves if the graph returns leaves; the score is their mean."""
    head: Head
    zero_below: float = 0.0
    """The magnitude up to which an element counts as 0."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Estimates]:
        """See `Estimator`."""
        return BoundTrees(self, session(files[ONNX_FILE]))


class BoundTrees:
    """An ensemble with its ONNX session."""

    def __init__(self, trees: Trees, run: Callable[[Matrix], Matrix]) -> None:
        self._trees = trees
        self._run = run
        self._base = trees.base if trees.base.any() else None

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: the Python object refuses these rows too.
        """
        trees = self._trees
        output = self._run(self._checked(matrix))
        if trees.leaves is not None:
            return trees.head(_mean_of_leaves(trees.leaves, output.astype(np.intp)))
        if self._base is not None:
            output += self._base
        return trees.head(output)

    def _checked(self, matrix: Matrix) -> Matrix:
        refuses = self._trees.refuses
        if self._trees.narrow:
            return as_float32(matrix, allow_nan=refuses == "infinite").astype(np.float64)
        if refuses == "non-finite":
            refuse_non_finite(matrix)
        elif refuses == "infinite":
            refuse_infinite(matrix)
        if self._trees.zero_below:
            matrix = np.where(np.abs(matrix) <= self._trees.zero_below, 0.0, matrix)
        return matrix if matrix.flags.c_contiguous else np.ascontiguousarray(matrix)


def session(model: bytes) -> Callable[[Matrix], Matrix]:
    """The function that runs a graph of one input and one output.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    # Optional: a service without tree models need not install it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The graph has one node: there is nothing to optimise.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    opened: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # The wrapper's `run` checks names and counts once more, which takes a microsecond.
    inner = getattr(opened, "_sess", opened)
    return lambda matrix: inner.run(["Y"], {"X": matrix}, None)[0]


def _mean_of_leaves(values: Matrix, found: NDArray[np.intp]) -> Matrix:
    """The mean over the trees, shape (rows, m), added tree after tree as `ForestClassifier.predict_proba` does."""
    rows, trees = found.shape
    if rows == 1:
        total = values.take(found[0], axis=0).sum(axis=0, keepdims=True)
    else:
        total = np.empty((rows, values.shape[1]))
        step = max(2, CHUNK // trees)
        for start in range(0, rows, step):
            # With the trees on the first axis, numpy adds them in order and not pairwise.
            part = np.ascontiguousarray(found[start : start + step].T)
            for column in range(values.shape[1]):
                total[start : start + step, column] = _in_order(values[:, column].take(part))
    return np.asarray(total / trees)


def _in_order(terms: Matrix) -> Matrix:
    """The sum over the first axis, in order, shape (rows,); for a single row `sum` would add pairwise."""
    return np.asarray(terms.sum(axis=0) if terms.shape[1] > 1 else np.add.accumulate(terms, axis=0)[-1])
