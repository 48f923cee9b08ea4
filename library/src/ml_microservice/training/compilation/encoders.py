"""Compilers of scikit-learn's encoders of categories, which become look-up tables.

The fitted encoder itself transforms every known value and one unknown value. This covers `drop`, infrequent groups and
`encoded_missing_value` without reading its attributes.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.program import NOWHERE, REFUSED, Codes, OneHot
from ml_microservice.inference.engine.steps import Bins, Encode
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.compilation.values import Computed, RawColumn, Unfilled, Value, lowered

LARGEST_EXACT = 2**53
"""Beyond it, float64 cannot represent every whole number."""


def _one_hot(encoder: OneHotEncoder, value: Value, name: str) -> Value:
    if isinstance(value, Computed):
        return _encoded(encoder, value, encoder._n_features_outs, name)
    answers = _answers(encoder, list(encoder._n_features_outs))
    offsets = np.cumsum([0, *encoder._n_features_outs])
    tables, unknown = [], []
    for column, (known, rows, other), offset in zip(value.columns, answers, offsets, strict=False):
        positions = [_position(row, int(offset)) for row in rows]
        rest = REFUSED if other is None else _position(other, int(offset))
        tables.append(_table(column, known, positions, rest, name))
        unknown.append(rest)
    names = tuple(column.name for column in value.columns)
    made = OneHot(names, tuple(tables), tuple(unknown), int(offsets[-1]))
    return Computed(made, (), int(offsets[-1]), "finite", sparse=bool(encoder.sparse_output))


def _ordinal(encoder: OrdinalEncoder, value: Value, name: str) -> Value:
    widths = [1] * len(encoder.categories_)
    if isinstance(value, Computed):
        return _encoded(encoder, value, widths, name)
    tables, unknown, refuses = [], [], []
    for column, (known, rows, other) in zip(value.columns, _answers(encoder, widths), strict=True):
        codes = [_number(row[0]) for row in rows]
        rest = None if other is None else _number(other[0])
        tables.append(_table(column, known, codes, rest, name, strict=other is None))
        unknown.append(rest)
        refuses.append(other is None)
    names = tuple(column.name for column in value.columns)
    return Computed(Codes(names, tuple(tables), tuple(unknown), tuple(refuses)), (), len(names), "anything", False)


def _bins(bins: KBinsDiscretizer, value: Value, name: str) -> Value:
    matrix = lowered(value, name)
    if matrix.sparse:
        raise Refusal(f"{name} gets a sparse matrix")
    edges = tuple(np.ascontiguousarray(edges[1:-1], dtype=np.float64) for edges in bins.bin_edges_)
    binned = matrix.checked(nan=False).then(Bins(edges), content="finite")
    if bins.encode == "ordinal":
        return binned
    return _encoded(bins._encoder, binned, bins._encoder._n_features_outs, name)


def _encoded(encoder: Any, matrix: Computed, widths: Sequence[int], name: str) -> Computed:
    """Compile an encoder of computed numbers."""
    if matrix.sparse:
        raise Refusal(f"{name} gets a sparse matrix")
    answers = _answers(encoder, list(widths))
    known = tuple(np.asarray(values, dtype=np.float64) for values, _, _ in answers)
    codes = tuple(np.vstack([rows, np.zeros(rows.shape[1]) if other is None else other]) for _, rows, other in answers)
    refuses = tuple(other is None for _, _, other in answers)
    made = matrix.then(Encode(known, codes, refuses), width=sum(widths), content="anything")
    return Computed(made.source, made.steps, made.width, "anything", bool(getattr(encoder, "sparse_output", False)))


def _answers(encoder: Any, widths: list[int]) -> list[tuple[list[Any], Matrix, Matrix | None]]:
    """For each column: its known values, their codes, and the codes of any other value (None if it is refused)."""
    categories = [np.asarray(values) for values in encoder.categories_]
    rows = max(len(values) for values in categories)
    frame = pd.DataFrame(
        {at: pd.Series(list(np.resize(values, rows)), dtype=values.dtype) for at, values in enumerate(categories)}
    )
    known = _transformed(encoder, frame)
    ends = np.cumsum(widths)
    found: list[tuple[list[Any], Matrix, Matrix | None]] = []
    for at, values in enumerate(categories):
        part = slice(int(ends[at]) - widths[at], int(ends[at]))
        stranger = frame.head(1).copy()
        stranger[at] = pd.Series([_stranger(values)], dtype=object if values.dtype.kind in "OUS" else np.float64)
        try:
            other: Matrix | None = _transformed(encoder, stranger)[0, part]
        except ValueError:
            other = None
        found.append((values.tolist(), known[: len(values), part], other))
    return found


def _transformed(encoder: Any, frame: pd.DataFrame) -> Matrix:
    with warnings.catch_warnings():
        # It would warn of other column names, and of the category that is unknown on purpose.
        warnings.simplefilter("ignore")
        names = vars(encoder).pop("feature_names_in_", None)
        try:
            answer = encoder.transform(frame)
        finally:
            if names is not None:
                encoder.feature_names_in_ = names
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, dtype=np.float64)


def _stranger(values: Any) -> Any:
    """A value that the encoder does not know."""
    if values.dtype.kind in "OUS":
        return "\0stranger"
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return float(finite.max()) + 0.5 if finite.size else 0.5


def _table(
    column: RawColumn, known: list[Any], codes: Sequence[Any], other: Any, name: str, *, strict: bool = False
) -> dict[Any, Any]:
    """The code of each value of a column; the missing value is None."""
    if column.numeric and any(isinstance(v, int | float) and abs(v) >= LARGEST_EXACT for v in known):
        raise Refusal(f"{name} has categories of {column.name!r} beyond 2**53")
    table: dict[Any, Any] = {}
    missing: dict[bool, Any] = {}
    for value, code in zip(known, codes, strict=True):
        if value is None or value != value:
            missing[value is None] = code
        else:
            table[value] = code
    if column.fill is not Unfilled:
        filled = column.fill
        if filled in table or not strict:
            table[None] = table.get(filled, other)
    elif column.none in missing:
        table[None] = missing[column.none]
    elif not strict:
        table[None] = other
    return table


def _position(row: Matrix, offset: int) -> int:
    ones = np.flatnonzero(row)
    return offset + int(ones[0]) if len(ones) else NOWHERE


def _number(code: Any) -> float | None:
    return None if np.isnan(code) else float(code)


ENCODERS: dict[type, Callable[[Any, Value, str], Value]] = {
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    KBinsDiscretizer: _bins,
}
