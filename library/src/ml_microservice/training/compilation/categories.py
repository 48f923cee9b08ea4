"""Splits by sets of categories as splits by numbers: each set becomes a column that says which way a value goes.

ONNX has a node for this (`BRANCH_MEMBER`), but ONNX Runtime 1.31 takes 2.5 for 2 there, a chain of `BRANCH_EQ` to one
leaf answers wrongly for some whole numbers, and an inner node that several nodes lead to is refused.
"""

from collections.abc import Set
from dataclasses import replace

import numpy as np

from ml_microservice.inference.engine.staged import Staged
from ml_microservice.inference.engine.steps import Apply, Encode, Fork, Step, Take
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator

HALF = 0.5
"""Threshold of the columns that are made: 0 goes left, 1 goes right."""


class CategorySplits:
    """The sets that trees split by, and the columns that stand for them."""

    def __init__(self, columns: int, *, whole: bool = False) -> None:
        """Of a matrix with so many columns; `whole` cuts values to whole numbers, as LightGBM does."""
        self._columns = columns
        self._whole = whole
        self._found: dict[tuple[int, frozenset[float], bool], int] = {}

    def column(self, feature: int, apart: Set[float], *, rest_left: bool) -> int:
        """The column for a split: all values go left (or else right), but for those that are set apart."""
        return self._found.setdefault((feature, frozenset(apart), rest_left), self._columns + len(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def staged(self, compiled: CompiledEstimator, checks: tuple[Step, ...] = ()) -> CompiledEstimator:
        """An estimator of the matrix with the further columns as one of the matrix itself."""
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
