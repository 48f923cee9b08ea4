"""Steps from one matrix to the next: the arithmetic of scikit-learn's transformers, equal bit for bit.

A step owns the matrix that it is given, and may change and return it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.checks import Matrix, is_finite, refuse_infinite, refuse_non_finite

Operation = Literal["add", "subtract", "multiply", "divide"]


class Step(Protocol):
    """Anything that makes a matrix of shape (rows, m) from one of shape (rows, k)."""

    def __call__(self, matrix: Matrix) -> Matrix:
        """The next matrix.

        Raises:
            ValueError: scikit-learn would refuse this matrix.
        """
        ...


@dataclass(frozen=True)
class Check:
    """Refuses the matrices that `check_array` refuses."""

    nan: bool
    """Whether NaN passes."""

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        if self.nan:
            refuse_infinite(matrix)
        else:
            refuse_non_finite(matrix)
        return matrix


@dataclass(frozen=True)
class Fill:
    """`SimpleImputer`: NaN becomes the constant of its column, or stays NaN if the column has none."""

    values: Matrix
    """Shape (k,)."""

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        if is_finite(matrix):
            return matrix
        refuse_infinite(matrix)
        return np.where(np.isnan(matrix), self.values, matrix)


@dataclass(frozen=True)
class Arithmetic:
    """One arithmetic operation with a constant for each column, shape (k,)."""

    operation: Operation
    operand: Matrix
    _apply: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.operation not in ("add", "subtract", "multiply", "divide"):
            raise ValueError(f"unknown operation {self.operation!r}")
        object.__setattr__(self, "_apply", getattr(np, self.operation))

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        return self._apply(matrix, self.operand, matrix)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Clip:
    """`MinMaxScaler(clip=True)`."""

    low: float
    high: float

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        return np.clip(matrix, self.low, self.high, out=matrix)


@dataclass(frozen=True)
class Apply:
    """`FunctionTransformer` of a numpy function of one argument."""

    function: str
    _apply: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        function = getattr(np, self.function, None)
        if not isinstance(function, np.ufunc) or function.nin != 1 or function.nout != 1:
            raise ValueError(f"numpy has no function {self.function!r} of one argument")
        object.__setattr__(self, "_apply", function)

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        # In column order, as pandas holds a frame: a SIMD loop over rows may round the last bit differently.
        return np.asarray(self._apply(np.asfortranarray(matrix)), dtype=np.float64)


@dataclass(frozen=True)
class Take:
    """Some of the columns."""

    columns: NDArray[np.intp]

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        return matrix[:, self.columns]


@dataclass(frozen=True)
class Missing:
    """`MissingIndicator`: 1.0 where some of the columns are NaN."""

    columns: NDArray[np.intp]

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        return np.isnan(matrix[:, self.columns]).astype(np.float64)


@dataclass(frozen=True)
class Bins:
    """`KBinsDiscretizer(encode="ordinal")`: the number of inner edges at or below a value."""

    edges: tuple[Matrix, ...]

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        for column, edges in enumerate(self.edges):
            matrix[:, column] = edges.searchsorted(matrix[:, column], side="right")
        return matrix


@dataclass(frozen=True)
class Encode:
    """An encoder of computed numbers: each known value of a column is replaced by a row of codes."""

    known: tuple[Matrix, ...]
    """The values of each column, ascending, NaN last."""
    codes: tuple[Matrix, ...]
    """Shape (values + 1, m) for each column: the codes of its values, and last those of any other value."""
    refuses: tuple[bool, ...]
    """Whether any other value of a column is refused."""

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        parts = []
        for column, (known, codes, refuses) in enumerate(zip(self.known, self.codes, self.refuses, strict=True)):
            values = matrix[:, column]
            place = known.searchsorted(values)
            found = known[np.minimum(place, len(known) - 1)]
            unknown = (found != values) & ~(np.isnan(found) & np.isnan(values))
            if unknown.any():
                if refuses:
                    raise ValueError("Found unknown categories during transform")
                place = np.where(unknown, len(known), place)
            parts.append(codes[place])
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Polynomial:
    """`PolynomialFeatures`: each further column is the product of an earlier one and an input."""

    constant: bool
    """Whether the first column is 1."""
    left: NDArray[np.intp]
    """The earlier column of each product, counted among all columns."""
    right: NDArray[np.intp]
    """The input of each product."""
    stages: tuple[int, ...]
    """Where the products of each degree end."""
    keep: NDArray[np.intp]
    """The columns that are kept, shape (m,)."""

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        inputs, start = matrix.shape[1], int(self.constant)
        everything = np.ones((len(matrix), start + inputs + len(self.left)))
        everything[:, start : start + inputs] = matrix
        begin = 0
        for end in self.stages:
            products = everything[:, self.left[begin:end]] * matrix[:, self.right[begin:end]]
            everything[:, start + inputs + begin : start + inputs + end] = products
            begin = end
        return everything[:, self.keep]


@dataclass(frozen=True)
class Fork:
    """Several chains of steps on the same matrix, their results side by side."""

    chains: tuple[tuple[Step, ...], ...]

    def __call__(self, matrix: Matrix) -> Matrix:
        """See `Step`."""
        parts = []
        for chain in self.chains:
            part = matrix.copy()
            for step in chain:
                part = step(part)
            parts.append(part)
        return np.concatenate(parts, axis=1)


STEPS: tuple[type, ...] = (Check, Fill, Arithmetic, Clip, Apply, Take, Missing, Bins, Encode, Polynomial, Fork)
