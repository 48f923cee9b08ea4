"""The data of the report's plots: shares in the window and in the reference."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml_microservice.artefact.reference import (
    CategoryReference,
    NumberReference,
    TextReference,
    Values,
    VectorReference,
)
from ml_microservice.monitoring.description import bar_counts
from ml_microservice.monitoring.drift.kinds import word_changes
from ml_microservice.monitoring.drift.result import BarsPicture, HistogramPicture, Picture
from ml_microservice.monitoring.values import Floats, categories, lengths, moments, numbers, vectors, words_of

MOST_BARS = 10
OTHERS = "all others"


def pictures_of(reference: Values, type_: str, values: Sequence[Any]) -> tuple[Picture, ...]:
    """Pictures that compare values, of which at least one is present and none is missing, with their reference."""
    match reference:
        case NumberReference():
            array = moments(values) if type_ == "datetime" else numbers(values)
            return (_histogram("", reference, array),)
        case CategoryReference():
            return (_shares(reference, Counter(categories(values))),)
        case TextReference():
            sizes = np.asarray([len(text) for text in values], dtype=np.float64)
            return (_histogram("characters", reference.lengths, sizes), *_words(reference, values))
        case VectorReference():
            return (_histogram("length of the vector", reference.norms, lengths(vectors(values))),)


def missing_picture(reference: float, window: float) -> BarsPicture:
    """Shares of missing and of present values."""
    return BarsPicture("share of rows", ("missing", "there"), (reference, 1 - reference), (window, 1 - window))


def _histogram(title: str, reference: NumberReference, values: Floats) -> HistogramPicture:
    """The reference's bars, extended to cover the middle 99 % of the window, at most threefold."""
    edges = np.asarray(reference.histogram.edges)
    width, most = edges[1] - edges[0], len(edges) - 1
    low, high = np.quantile(values, (0.005, 0.995))
    before = int(np.clip(np.ceil((edges[0] - low) / width), 0, most))
    after = int(np.clip(np.ceil((high - edges[-1]) / width), 0, most))
    longer = edges[0] + width * np.arange(-before, len(edges) + after)
    counts = [0] * before + list(reference.histogram.counts) + [0] * after
    window = bar_counts(longer, values)
    return HistogramPicture(title, tuple(longer.tolist()), _of(counts, reference.count), _of(window, len(values)))


def _shares(reference: CategoryReference, window: Counter[str]) -> BarsPicture:
    total = window.total()
    changes = {
        name: (reference.counts.get(name, 0) / reference.count, window[name] / total)
        for name in {*reference.counts, *window}
    }
    return _bars("", changes, key=lambda pair: max(pair), with_others=True)


def _words(reference: TextReference, texts: Sequence[str]) -> tuple[BarsPicture, ...]:
    worded = [words for words in map(words_of, texts) if words]
    if not worded or not reference.words:
        return ()
    changes = word_changes(reference, worded)
    return (_bars("share of texts that have the word", changes, key=lambda pair: abs(pair[1] - pair[0])),)


def _bars(title: str, changes: Mapping[str, tuple[float, float]], key: Any, with_others: bool = False) -> BarsPicture:
    ranked = sorted(changes.items(), key=lambda item: (-key(item[1]), item[0]))
    shown = dict(ranked[:MOST_BARS])
    if with_others:
        rest = tuple(max(0.0, 1 - sum(pair[side] for pair in shown.values())) for side in (0, 1))
        if max(rest) > 1e-9:
            shown[OTHERS] = (rest[0], rest[1])
    befores, nows = zip(*shown.values(), strict=True)
    return BarsPicture(title, tuple(shown), befores, nows)


def _of(counts: Sequence[int] | np.ndarray[Any, Any], total: int) -> tuple[float, ...]:
    return tuple(float(count) / total for count in counts)
