"""Preprocessing as a program on columns: request values to a float64 matrix, without a frame in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ml_microservice.features.columns import Column, Columns, as_list
from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.steps import STEPS, Step

NOWHERE, REFUSED = -1, -2
"""Positions of a label that gets no column, and of one that is an error."""


class Source(Protocol):
    """Anything that makes a matrix of columns."""

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """The matrix, shape (rows, k), which the caller may change.

        Raises:
            ValueError: scikit-learn would refuse these values.
        """
        ...


@dataclass(frozen=True)
class Program:
    """A fitted preprocessing, compiled."""

    source: Source
    first: str
    """Any column, to count the rows by."""

    def __call__(self, columns: Columns) -> Matrix:
        """The matrix that the estimator takes, shape (rows, k).

        Raises:
            ValueError: scikit-learn would refuse these values.
        """
        return self.source(columns, len(columns[self.first]))


@dataclass(frozen=True)
class Numbers:
    """Numeric columns as they are; a missing value is NaN."""

    names: tuple[str, ...]

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        return np.array([columns[name] for name in self.names], dtype=np.float64).T


@dataclass(frozen=True)
class OneHot:
    """`OneHotEncoder` as a look-up: each value of each column stands for the position of a 1."""

    names: tuple[str, ...]
    tables: tuple[Mapping[Any, int], ...]
    """Positions by value, None being a missing one."""
    unknown: tuple[int, ...]
    """Position of any other value of each column."""
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
    """`OrdinalEncoder` as a look-up."""

    names: tuple[str, ...]
    tables: tuple[Mapping[Any, float], ...]
    """Codes by value, None being a missing one; a code that is None is NaN."""
    unknown: tuple[float | None, ...]
    """Code of any other value of each column."""
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
    """A source and the steps that its matrix goes through."""

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
    """`ColumnTransformer` and `FeatureUnion`: matrices side by side."""

    sources: tuple[Source, ...]

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """See `Source`."""
        return np.concatenate([source(columns, rows) for source in self.sources], axis=1)


def _keys(column: Column) -> Sequence[Any]:
    """Values to look up, None where one is missing: an array of numbers says NaN instead, which equals nothing."""
    return as_list(column) if isinstance(column, np.ndarray) else column


PROGRAM: tuple[type, ...] = (Program, Numbers, OneHot, Codes, Chain, Concat, *STEPS)
