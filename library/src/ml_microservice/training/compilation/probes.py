"""Probes: the rows on which a compiled model is compared with the Python objects.

They are the training rows and rows on which the two are likely to differ. A request may carry each of them, because
validation keeps other rows from both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.features.columns import Columns
from ml_microservice.features.frame_columns import request_columns
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import CategoryFeature, Feature, FeatureSpec, FloatFeature, IntFeature, StringFeature
from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.program import Program

MOST_ROWS = 20_000
"""The most training rows, and the most held-out rows, that are compared."""
MOST_THRESHOLDS = 200
"""The most thresholds that are probed in each column."""
EXTREMES = (0.0, -0.0, 1e-320, 1.0, -1.0, 3.4e38, 3.5e38, -3.5e38, 1e308, -1e308, 1.7976931348623157e308)
STRANGE_TEXTS = ("", " ", "nan", "None", "\0", "é", "unseen before")


@dataclass(frozen=True)
class Probe:
    """Rows to compare, with a name for messages."""

    name: str
    columns: Columns

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))


def column_probes(frame: pd.DataFrame, held_out: pd.DataFrame, spec: FeatureSpec, layout: FrameLayout) -> list[Probe]:
    """Rows of both frames, and rows with a missing, strange or extreme value in one feature or in all of them."""
    probes = [Probe("training rows", request_columns(frame.head(MOST_ROWS), spec))]
    probes.append(Probe("held-out rows", request_columns(held_out.head(MOST_ROWS), spec)))
    typical = request_columns(frame.head(3), spec)
    probes.append(
        Probe("missing values", _varied(typical, {f.name: [None] for f in spec.features if _may_lack(f, layout)}))
    )
    probes.append(Probe("strange values", _varied(typical, {f.name: _strange(f, layout) for f in spec.features})))
    return [probe for probe in probes if probe.rows]


def threshold_probe(typical: Columns, program: Program, thresholds: Mapping[int, NDArray[np.float64]]) -> Probe | None:
    """Requests whose rows of the matrix lie on a threshold of the trees, or one float64 beside it.

    Only for columns of the matrix that are linear in one number of the request: the linear function is inverted.
    Rounding may miss the threshold itself, which `matrix_probe` does not.
    """
    base = {name: [values[0]] for name, values in typical.items()}
    variants: dict[str, list[Any]] = {}
    for name, values in base.items():
        if isinstance(values[0], float):
            for column, offset, slope in _lines(program, base, name):
                if column in thresholds:
                    roots = (_spread(thresholds[column]) - offset) / slope
                    variants.setdefault(name, []).extend(_beside(roots).tolist())
    return Probe("thresholds in requests", _varied(base, variants, together=False)) if variants else None


def matrix_probe(matrix: Matrix, thresholds: Mapping[int, NDArray[np.float64]]) -> Matrix:
    """Rows of a matrix with one element on a threshold, or on the next number beside it in float64 or float32."""
    made = []
    for column, values in thresholds.items():
        on = _spread(values)
        narrow = on.astype(np.float32)
        sides = [np.nextafter(narrow, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
        points = np.concatenate([_beside(on), narrow.astype(np.float64), *sides])
        rows = matrix[np.arange(len(points)) % len(matrix)].copy()
        rows[:, column] = points
        made.append(rows)
    return np.concatenate(made) if made else matrix[:0]


def batches(columns: Columns, sizes: tuple[int, ...] = (1, 7, 64, 1000)) -> Iterator[tuple[int, Columns]]:
    """The first rows in batches of several sizes: BLAS adds in an order that depends on the size.

    Yields:
        The position of a batch's first row, and the batch.
    """
    rows = len(next(iter(columns.values())))
    for size in sizes:
        for start in range(0, min(rows, max(size, 50)), size):
            yield start, {name: values[start : start + size] for name, values in columns.items()}


def first_rows(columns: Columns, rows: int) -> dict[str, Any]:
    """The first rows, repeated if there are too few."""
    count = len(next(iter(columns.values())))
    return {name: [values[at % count] for at in range(rows)] for name, values in columns.items()}


def _may_lack(feature: Feature, layout: FrameLayout) -> bool:
    return feature.optional or layout.dtypes[feature.name] == "float64"


def _strange(feature: Feature, layout: FrameLayout) -> list[Any]:
    match feature:
        case FloatFeature(min=low, max=high):
            ends = [end for end in (low, high) if end is not None]
            bounds = (-np.inf if low is None else low, np.inf if high is None else high)
            infinite = [end for end in bounds if np.isinf(end)]
            return [*ends, *(v for v in EXTREMES if bounds[0] <= v <= bounds[1]), *infinite]
        case IntFeature(min=low, max=high):
            bounds = (-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
            return [*bounds, *(v for v in (0, 1, -1, 2**53, 2**53 + 1) if bounds[0] <= v <= bounds[1])]
        case CategoryFeature(values=values):
            unseen = layout.dtypes[feature.name] in ("str", "object") and isinstance(values[0], str)
            return [*values, *(STRANGE_TEXTS if unseen else ())]
        case StringFeature(example=example, max_length=limit):
            seen = example or "a"
            return [text[:limit] for text in (*STRANGE_TEXTS, f"{seen} ", f" {seen}", seen.upper())]
        case _:
            return [True, False] if feature.type == "bool" else []


def _varied(typical: Columns, variants: Mapping[str, list[Any]], *, together: bool = True) -> dict[str, list[Any]]:
    """Typical rows with one feature changed at a time, and then, if `together`, with all features changed."""
    result: dict[str, list[Any]] = {name: [] for name in typical}
    count = len(next(iter(typical.values())))

    def add(row: int, changes: Mapping[str, Any]) -> None:
        for name, values in typical.items():
            result[name].append(changes.get(name, values[row]))

    changes = [{name: value} for name, values in variants.items() for value in values]
    for at, change in enumerate(changes):
        add(at % count, change)
    longest = max((len(values) for values in variants.values()), default=0) if together else 0
    for at in range(longest):
        add(at % count, {name: values[at % len(values)] for name, values in variants.items() if values})
    return result


def _lines(program: Program, base: Mapping[str, list[Any]], name: str) -> Iterator[tuple[int, float, float]]:
    """The columns of the matrix that are linear in one feature, as (column, offset, slope)."""
    points = [0.0, 1.0, 3.0]
    columns = {other: values * len(points) for other, values in base.items()} | {name: points}
    try:
        zero, one, three = program(columns)
    except ValueError:
        return
    slope = one - zero
    straight = np.isclose(three, zero + 3 * slope) & (slope != 0) & np.isfinite(slope)
    for column in np.flatnonzero(straight):
        yield int(column), float(zero[column]), float(slope[column])


def _beside(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    return np.concatenate([finite, np.nextafter(finite, -np.inf), np.nextafter(finite, np.inf)])


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `MOST_THRESHOLDS` of the values, evenly chosen."""
    if len(values) <= MOST_THRESHOLDS:
        return values
    return values[np.linspace(0, len(values) - 1, MOST_THRESHOLDS).astype(np.intp)]
