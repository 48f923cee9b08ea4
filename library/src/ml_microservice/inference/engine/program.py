"""Compiled preprocessing: a program that makes a float64 matrix from the columns of requests, without a data frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ml_microservice.features.columns import Column, Columns, as_list
from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.steps import STEPS, Step

NOWHERE, REFUSED = -1, -2
"""Positions that mean no column, and a refused value."""


class Source(Protocol):
    """Anything that makes a matrix from columns."""

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """The matrix, shape (rows, k), which the caller may change.

        Raises:
            ValueError: scikit-learn would refuse these values.
        """
        ...


@dataclass(frozen=True)
class Program:
    """A compiled Preprocessor."""

    source: Source
    first: str
    """The column by which rows are counted."""

    def __call__(self, columns: Columns) -> Matrix:
        """The matrix that the estimator takes, shape (rows, k).

        Raises:
            ValueError: scikit-learn would refuse these values.
        """
        return self.source(columns, len(columns[self.first]))


@dataclass(frozen=True)
class Numbers:
    """Numeric columns, unchanged; a missing value is NaN."""

    names: tuple[str, ...]

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        return np.array([columns[name] for name in self.names], dtype=np.float64).T


@dataclass(frozen=True)
class OneHot:
    """`OneHotEncoder` as a look-up table: a value has the position of its 1."""

    names: tuple[str, ...]
    tables: tuple[Mapping[Any, int], ...]
    """The positions of each column's values; None is the missing value."""
    unknown: tuple[int, ...]
    """The position of any other value of each column."""
    width: int
    _plan: tuple[tuple[str, Any, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_plan", tuple(zip(self.names, self.tables, self.unknown, strict=True)))

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        matrix = np.zeros((rows, self.width))
        if rows == 1:
            for name, table, unknown in self._plan:
                position = table.get(_keys(columns[name])[0], unknown)
                if position >= 0:
                    matrix[0, position] = 1.0
                elif position == REFUSED:
                    raise ValueError("Found unknown categories during transform")
            return matrix
        found = [[table.get(key, unknown) for key in _keys(columns[name])] for name, table, unknown in self._plan]
        positions = np.array(found, dtype=np.intp)
        places = positions + np.arange(rows) * self.width
        if positions.size and positions.min() < 0:
            if (positions == REFUSED).any():
                raise ValueError("Found unknown categories during transform")
            places = places[positions >= 0]
        matrix.reshape(-1)[places.reshape(-1)] = 1.0
        return matrix


@dataclass(frozen=True)
class Codes:
    """`OrdinalEncoder` as a look-up table."""

    names: tuple[str, ...]
    tables: tuple[Mapping[Any, float], ...]
    """The codes of each column's values; None is the missing value, and as a code NaN."""
    unknown: tuple[float | None, ...]
    """The code of any other value of each column."""
    refuses: tuple[bool, ...]
    """Whether any other value of a column is refused."""

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        plan = zip(self.names, self.tables, self.unknown, self.refuses, strict=True)
        found: list[list[float | None]] = []
        for name, table, unknown, refuses in plan:
            if refuses:
                try:
                    found.append([table[key] for key in _keys(columns[name])])
                except KeyError:
                    raise ValueError("Found unknown categories during transform") from None
            else:
                found.append([table.get(key, unknown) for key in _keys(columns[name])])
        return np.array(found, dtype=np.float64).T


@dataclass(frozen=True)
class Chain:
    """A source, followed by steps."""

    source: Source
    steps: tuple[Step, ...]

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        matrix = self.source(columns, rows)
        for step in self.steps:
            matrix = step(matrix)
        return matrix


@dataclass(frozen=True)
class Concat:
    """The matrices of several sources side by side, as `ColumnTransformer` and `FeatureUnion` join them."""

    sources: tuple[Source, ...]

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        return np.concatenate([source(columns, rows) for source in self.sources], axis=1)


def _keys(column: Column) -> Sequence[Any]:
    """The values to look up; a missing one is None, also where an array of numbers has NaN."""
    return as_list(column) if isinstance(column, np.ndarray) else column


PROGRAM: tuple[type, ...] = (Program, Numbers, OneHot, Codes, Chain, Concat, *STEPS)
