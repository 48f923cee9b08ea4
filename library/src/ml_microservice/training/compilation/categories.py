"""Splits by sets of categories, rewritten as numeric splits: each set becomes a 0-1 column of the matrix.

ONNX has a node for such splits (`BRANCH_MEMBER`), but ONNX Runtime 1.31 reads 2.5 as 2 there. A chain of `BRANCH_EQ`
nodes is wrong for some whole numbers, and an inner node with several parents is refused.
"""

from collections.abc import Set
from dataclasses import replace

import numpy as np

from ml_microservice.inference.engine.staged import Staged
from ml_microservice.inference.engine.steps import Apply, Encode, Fork, Step, Take
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator

HALF = 0.5
"""The threshold of the new columns: 0 goes left, 1 goes right."""


class CategorySplits:
    """The sets that trees split by, each with its column."""

    def __init__(self, columns: int, *, whole: bool = False) -> None:
        """Start with the matrix's number of columns; `whole` truncates values to whole numbers, as LightGBM does."""
        self._columns = columns
        self._whole = whole
        self._found: dict[tuple[int, frozenset[float], bool], int] = {}

    def column(self, feature: int, apart: Set[float], *, rest_left: bool) -> int:
        """The column of a split: values go left if `rest_left`, else right; those in `apart` go the other way."""
        return self._found.setdefault((feature, frozenset(apart), rest_left), self._columns + len(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def staged(self, compiled: CompiledEstimator, checks: tuple[Step, ...] = ()) -> CompiledEstimator:
        """Make an estimator of the extended matrix one of the matrix itself, which it extends by the columns first."""
        everything = Take(np.arange(self._columns))
        chains: list[tuple[Step, ...]] = [(everything,)]
        order = list(range(self._columns))
        known: dict[int, np.ndarray] = {}
        for feature in sorted({feature for feature, _, _ in self._found}):
            mine = {key: column for key, column in self._found.items() if key[0] == feature}
            known[feature] = np.array(sorted(set().union(*(apart for _, apart, _ in mine))), dtype=np.float64)
            codes = [[float((value in apart) == left) for _, apart, left in mine] for value in known[feature].tolist()]
            codes.append([float(not left) for _, _, left in mine])
            encode = Encode((known[feature],), (np.array(codes),), (False,))
            whole: tuple[Step, ...] = (Apply("trunc"),) if self._whole else ()
            chains.append((Take(np.array([feature])), *whole, encode))
            order += mine.values()
        if checks:
            chains.append(checks)
        steps = (Fork(tuple(chains)), Take(np.argsort(order)))
        thresholds = {at: values for at, values in compiled.thresholds.items() if at < self._columns} | known
        return replace(compiled, estimator=Staged(steps, compiled.estimator), thresholds=thresholds)
