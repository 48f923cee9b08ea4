"""Values put into a bounded description, which is what a reference is made of."""

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
"""Of about equal shares: what PSI is commonly computed on."""
BARS = 24
"""Of a histogram to draw."""
SKETCH = 200
"""A distribution function read off so many values is off by at most a 400th."""
MOST_NAMES = 100
MOST_WORDS = 200
FEWEST_TEXTS = 5
"""Texts that must have a word for it to be kept: a word that fewer have could tell of a person."""
MOST_ELEMENTS = 256


def describe_feature(type_: str, column: Sequence[Any]) -> FeatureReference:
    """A feature's values, one for each row, None where one is missing."""
    values = present(column)
    described = DESCRIBE[type_](values) if values else None
    return FeatureReference(type_, len(column), len(column) - len(values), described)


def describe_predictions(values: Sequence[str | float]) -> Values:
    """Names of classes, or numbers; at least one."""
    return describe_numbers(numbers(values)) if isinstance(values[0], float | int) else describe_categories(values)


def describe_numbers(values: Floats) -> NumberReference:
    """At least one finite number."""
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
    """At least one value."""
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
    """At least one text."""
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
    """At least one vector."""
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
    """The middle of each of `SKETCH` equal shares, as values that really occurred."""
    if len(ordered) <= SKETCH:
        return ordered
    sketch: Floats = ordered[((np.arange(SKETCH) + 0.5) / SKETCH * len(ordered)).astype(int)]
    return sketch


def _histogram(ordered: Floats) -> Histogram:
    """Over the middle 99 %, so that a few far values do not squeeze all others into one bar."""
    last = len(ordered) - 1
    low, high = float(ordered[int(0.005 * last)]), float(ordered[ceil(0.995 * last)])
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-300):
        low, high = low - max(1, abs(low)) / 2, high + max(1, abs(high)) / 2
    edges = np.linspace(low, high, BARS + 1)
    return Histogram(tuple(edges.tolist()), tuple(bar_counts(edges, ordered).tolist()))


def bar_counts(edges: Sequence[float] | Floats, values: Floats) -> NDArray[np.intp]:
    """How many values lie in each bar; the outermost bars have those beyond them too."""
    return np.bincount(np.searchsorted(edges[1:-1], values, side="right"), minlength=len(edges) - 1)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
