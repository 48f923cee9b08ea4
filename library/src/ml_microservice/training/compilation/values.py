"""What flows between the steps of a preprocessing while it is compiled: columns still as they came, or a matrix."""

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
    """A column whose missing values are still missing."""


@dataclass(frozen=True)
class RawColumn:
    """A column of the frame, as it came or with its missing values filled."""

    name: str
    numeric: bool
    """Whether its values are numbers or booleans in every row."""
    none: bool
    """Whether a missing value is None rather than NaN."""
    fill: Any = Unfilled
    """What a missing value becomes."""


@dataclass(frozen=True)
class Raw:
    """Columns that nothing but an imputer has touched."""

    columns: tuple[RawColumn, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def take(self, positions: list[int]) -> "Raw":
        """Some of the columns."""
        return Raw(tuple(self.columns[position] for position in positions))


@dataclass(frozen=True)
class Computed:
    """A matrix and how it is made."""

    source: Source
    steps: tuple[Step, ...]
    width: int
    content: Content
    """What its elements can be, which saves checks."""
    sparse: bool
    """Whether scikit-learn holds it as a sparse matrix, on which some steps compute otherwise."""

    def then(self, *steps: Step, width: int | None = None, content: Content | None = None) -> "Computed":
        """The matrix after further steps."""
        changed = replace(self, steps=(*self.steps, *steps), content=content or self.content)
        return changed if width is None else replace(changed, width=width)

    def checked(self, *, nan: bool) -> "Computed":
        """The matrix after the check that scikit-learn makes, left out where it cannot fail."""
        if self.content == "finite" or (nan and self.content == "no infinity"):
            return self
        return self.then(Check(nan), content="no infinity" if nan else "finite")

    def whole(self) -> Source:
        """The matrix as one source."""
        return Chain(self.source, self.steps) if self.steps else self.source


Value = Raw | Computed


def frame_columns(layout: FrameLayout, names: list[str]) -> Raw:
    """Columns of the frame that a Preprocessor gets."""
    return Raw(tuple(_raw_column(layout, name) for name in names))


def _raw_column(layout: FrameLayout, name: str) -> RawColumn:
    dtype = layout.dtypes[name]
    return RawColumn(name, numeric=dtype in NUMERIC, none=name in layout.none_is_missing)


def unsupported(layout: FrameLayout, kinds: Mapping[str, str], name: str) -> str | None:
    """Why a column cannot be read by a program, if it cannot."""
    dtype, kind = layout.dtypes[name], kinds[name]
    if kind in ("datetime", "vector"):
        return f"{name!r} is a {kind}"
    if dtype not in (*NUMERIC, "str", "object", "category"):
        return f"{name!r} is held as {dtype}, which scikit-learn computes with in another precision"
    return None


def lowered(value: Value, step: str) -> Computed:
    """Columns as a matrix.

    Raises:
        Refusal: they are not numbers.
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
    """Matrices joined."""
    contents = {part.content for part in parts}
    content: Content = "finite" if contents == {"finite"} else "anything"
    width = sum(part.width for part in parts)
    if len(parts) == 1:
        return replace(parts[0], sparse=sparse)
    return Computed(Concat(tuple(part.whole() for part in parts)), (), width, content, sparse)


def forked(value: Computed, parts: list[Computed], *, sparse: bool) -> Computed:
    """Several continuations of one matrix, joined."""
    start = len(value.steps)
    chains = tuple(part.steps[start:] for part in parts)
    content: Content = "finite" if all(part.content == "finite" for part in parts) else "anything"
    joined = value.then(Fork(chains), width=sum(part.width for part in parts), content=content)
    return replace(joined, sparse=sparse)
