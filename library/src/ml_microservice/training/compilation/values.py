"""The values between the steps of preprocessing while it is compiled: columns as they came, or a matrix."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ml_microservice.features.layout import FrameLayout
from ml_microservice.inference.engine.program import Chain, Concat, Numbers, Source
from ml_microservice.inference.engine.steps import Check, Fill, Fork, Step
from ml_microservice.training.compilation.refusal import Refusal

Content = Literal["anything", "no infinity", "finite"]
NUMERIC = ("float64", "int64", "bool", "Int64", "boolean")


class Unfilled:
    """Marks a column whose missing values are not filled."""


@dataclass(frozen=True)
class RawColumn:
    """A column of the frame, unchanged or with its missing values filled."""

    name: str
    numeric: bool
    """Whether every value is a number or a boolean."""
    none: bool
    """Whether a missing value is None rather than NaN."""
    fill: Any = Unfilled
    """The value that replaces a missing one."""


@dataclass(frozen=True)
class Raw:
    """Columns that no step but an imputer has changed."""

    columns: tuple[RawColumn, ...]

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.columns)

    def take(self, positions: list[int]) -> "Raw":
        """The columns at some positions."""
        return Raw(tuple(self.columns[position] for position in positions))


@dataclass(frozen=True)
class Computed:
    """A matrix, as the source and the steps that make it."""

    source: Source
    steps: tuple[Step, ...]
    width: int
    content: Content
    """What its elements can be; it tells which checks can be left out."""
    sparse: bool
    """Whether scikit-learn holds it as a sparse matrix, on which some steps compute differently."""

    def then(self, *steps: Step, width: int | None = None, content: Content | None = None) -> "Computed":
        """The matrix after further steps."""
        changed = replace(self, steps=(*self.steps, *steps), content=content or self.content)
        return changed if width is None else replace(changed, width=width)

    def checked(self, *, nan: bool) -> "Computed":
        """The matrix after scikit-learn's check, which is left out if it cannot fail."""
        if self.content == "finite" or (nan and self.content == "no infinity"):
            return self
        return self.then(Check(nan), content="no infinity" if nan else "finite")

    def whole(self) -> Source:
        """The matrix as one source."""
        return Chain(self.source, self.steps) if self.steps else self.source


Value = Raw | Computed


def frame_columns(layout: FrameLayout, names: list[str]) -> Raw:
    """Columns of the frame that the Preprocessor is given."""
    return Raw(tuple(_raw_column(layout, name) for name in names))


def _raw_column(layout: FrameLayout, name: str) -> RawColumn:
    dtype = layout.dtypes[name]
    return RawColumn(name, numeric=dtype in NUMERIC, none=name in layout.none_is_missing)


def unsupported(layout: FrameLayout, kinds: Mapping[str, str], name: str) -> str | None:
    """Why a program cannot read a column; None if it can."""
    dtype, kind = layout.dtypes[name], kinds[name]
    if kind in ("datetime", "vector"):
        return f"{name!r} is a {kind}"
    if dtype not in (*NUMERIC, "str", "object", "category"):
        return f"{name!r} is held as {dtype}, in which scikit-learn computes with another precision"
    return None


def lowered(value: Value, step: str) -> Computed:
    """Make a matrix of columns.

    Raises:
        Refusal: a column is not numeric.
    """
    if isinstance(value, Computed):
        return value
    text = [column.name for column in value.columns if not column.numeric]
    if text:
        raise Refusal(f"{step} gets the column {text[0]!r}, which is not numeric")
    numbers = Numbers(tuple(column.name for column in value.columns))
    made = Computed(numbers, (), value.width, "anything", sparse=False)
    fills = [np.nan if column.fill is Unfilled else float(column.fill) for column in value.columns]
    if not np.isnan(fills).all():
        made = made.then(Fill(np.array(fills)), content="no infinity" if np.isnan(fills).any() else "finite")
    return made


def side_by_side(parts: list[Computed], *, sparse: bool) -> Computed:
    """Join matrices."""
    contents = {part.content for part in parts}
    content: Content = "finite" if contents == {"finite"} else "anything"
    width = sum(part.width for part in parts)
    if len(parts) == 1:
        return replace(parts[0], sparse=sparse)
    return Computed(Concat(tuple(part.whole() for part in parts)), (), width, content, sparse)


def forked(value: Computed, parts: list[Computed], *, sparse: bool) -> Computed:
    """Join several continuations of one matrix."""
    start = len(value.steps)
    chains = tuple(part.steps[start:] for part in parts)
    content: Content = "finite" if all(part.content == "finite" for part in parts) else "anything"
    joined = value.then(Fork(chains), width=sum(part.width for part in parts), content=content)
    return replace(joined, sparse=sparse)
