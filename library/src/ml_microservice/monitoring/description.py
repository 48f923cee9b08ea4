"""Describes columns of values in a bounded size. A reference consists of these descriptions."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.artefact.reference import (
    CategoryReference,
    FeatureReference,
    Histogram,
    NumberReference,
    TextReference,
    Values,
    VectorReference,
)
from ml_microservice.monitoring.values import (
    Floats,
    categories,
    known_words,
    lengths,
    moments,
    numbers,
    present,
    vectors,
    words_of,
)

BINS = 10
"""Bins of about equal shares, the usual number for PSI."""
BARS = 24
"""Bars of a histogram."""
SKETCH = 200
"""Values kept of a distribution. A distribution function estimated from them is off by at most 1/400."""
MOST_NAMES = 100
MOST_WORDS = 200
FEWEST_TEXTS = 5
"""Texts that must contain a word for it to be kept. A rarer word could identify a person."""
MOST_ELEMENTS = 256


def describe_feature(type_: str, column: Sequence[Any]) -> FeatureReference:
    """Describe a feature by its column, which has None where a value is missing."""
    values = present(column)
    described = DESCRIBE[type_](values) if values else None
    return FeatureReference(type_, len(column), len(column) - len(values), described)


def describe_predictions(values: Sequence[str | float]) -> Values:
    """Describe predicted classes or numbers, of which there is at least one."""
    return describe_numbers(numbers(values)) if isinstance(values[0], float | int) else describe_categories(values)


def describe_numbers(values: Floats) -> NumberReference:
    """Describe numbers, of which there is at least one; all are finite."""
    ordered = np.sort(values)
    edges = np.unique(ordered[(np.arange(1, BINS) * len(ordered) + BINS - 1) // BINS - 1])
    edges = edges[edges < ordered[-1]]
    return NumberReference(
        count=len(ordered),
        low=float(ordered[0]),
        high=float(ordered[-1]),
        std=float(ordered.std()),
        sketch=tuple(_sketch(ordered).tolist()),
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(np.searchsorted(edges, ordered), minlength=len(edges) + 1).tolist()),
        histogram=_histogram(ordered),
    )


def describe_categories(values: Sequence[Any]) -> CategoryReference:
    """Describe categories, of which there is at least one."""
    counts = Counter(categories(values))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = dict(ranked[:MOST_NAMES])
    return CategoryReference(
        count=len(values),
        counts=kept,
        others=len(values) - sum(kept.values()),
        is_complete=len(counts) <= MOST_NAMES,
        once=sum(count == 1 for count in counts.values()),
    )


def describe_texts(values: Sequence[str]) -> TextReference:
    """Describe texts, of which there is at least one."""
    worded = [words for words in map(words_of, values) if words]
    frequent = Counter(word for words in worded for word in words).most_common()
    frequent = sorted((item for item in frequent if item[1] >= FEWEST_TEXTS), key=lambda item: (-item[1], item[0]))
    vocabulary = dict(frequent[:MOST_WORDS])
    unknown = 1 - np.asarray([known_words(words, vocabulary) for words in worded] or [1.0])
    return TextReference(
        count=len(values),
        empty=sum(not value.strip() for value in values),
        lengths=describe_numbers(np.asarray([len(value) for value in values], dtype=np.float64)),
        worded=len(worded),
        words=vocabulary,
        unknown_mean=float(unknown.mean()),
        unknown_std=float(unknown.std()),
    )


def describe_vectors(values: Sequence[Any]) -> VectorReference:
    """Describe vectors of equal length, of which there is at least one."""
    matrix = vectors(values)
    count = min(matrix.shape[1], MOST_ELEMENTS)
    elements = np.unique(np.linspace(0, matrix.shape[1] - 1, count).astype(int))
    compared = matrix[:, elements]
    return VectorReference(
        count=len(matrix),
        norms=describe_numbers(lengths(matrix)),
        elements=tuple(elements.tolist()),
        means=_rounded(compared.mean(axis=0)),
        stds=_rounded(compared.std(axis=0)),
    )


DESCRIBE: dict[str, Callable[[Sequence[Any]], Values]] = {
    "float": lambda values: describe_numbers(numbers(values)),
    "int": lambda values: describe_numbers(numbers(values)),
    "datetime": lambda values: describe_numbers(moments(values)),
    "bool": describe_categories,
    "category": describe_categories,
    "string": describe_texts,
    "vector": describe_vectors,
}


def _sketch(ordered: Floats) -> Floats:
    """The median of each of `SKETCH` equal shares. All are values that occurred."""
    if len(ordered) <= SKETCH:
        return ordered
    sketch: Floats = ordered[((np.arange(SKETCH) + 0.5) / SKETCH * len(ordered)).astype(int)]
    return sketch


def _histogram(ordered: Floats) -> Histogram:
    """A histogram over the middle 99 %, so that outliers do not squeeze all other values into one bar."""
    last = len(ordered) - 1
    low, high = float(ordered[int(0.005 * last)]), float(ordered[ceil(0.995 * last)])
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-300):
        low, high = low - max(1, abs(low)) / 2, high + max(1, abs(high)) / 2
    edges = np.linspace(low, high, BARS + 1)
    return Histogram(tuple(edges.tolist()), tuple(bar_counts(edges, ordered).tolist()))


def bar_counts(edges: Sequence[float] | Floats, values: Floats) -> NDArray[np.intp]:
    """Number of values in each bar. The outermost bars include the values beyond them."""
    return np.bincount(np.searchsorted(edges[1:-1], values, side="right"), minlength=len(edges) - 1)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
