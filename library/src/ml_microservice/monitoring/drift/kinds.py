"""The measures of each kind of values: what is measured, and from where on it matters."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_microservice.artefact.reference import (
    CategoryReference,
    NumberReference,
    TextReference,
    Values,
    VectorReference,
)
from ml_microservice.monitoring.drift.measures import (
    cramers_v,
    kolmogorov_smirnov,
    mean_noise,
    psi,
    psi_noise,
    share_noise,
    unseen_noise,
    wasserstein,
)
from ml_microservice.monitoring.drift.result import Measure, MeasureName
from ml_microservice.monitoring.values import (
    Floats,
    categories,
    known_words,
    lengths,
    moments,
    numbers,
    vectors,
    words_of,
)
from ml_microservice.settings import MonitoringSettings

FEWEST_VALUES = 30
"""Without so many on both sides, only missing values are compared."""
EXPECTED = 5
"""Categories of which the window should have fewer than this are taken together: their logarithms would be noise."""
COMPARISONS = {"number": 2, "category": 2, "text": 4, "vector": 3}
"""Measures of each kind that may raise an alarm, besides that of missing values."""


def measures_of(
    reference: Values, type_: str, values: Sequence[Any], level: float, settings: MonitoringSettings
) -> list[Measure]:
    """All measures of some values, none of them missing; none at all, where there are too few.

    Args:
        reference: of these values.
        type_: of the feature; `number` or `category` for predictions.
        values: as records have them.
        level: the probability by chance that each measure is given.
        settings: from where on a measure matters.
    """
    if min(len(values), reference.count) < FEWEST_VALUES:
        return []
    match reference:
        case NumberReference():
            return _of_numbers(reference, moments(values) if type_ == "datetime" else numbers(values), level, settings)
        case CategoryReference():
            return _of_categories(reference, Counter(categories(values)), level, settings)
        case TextReference():
            return _of_texts(reference, values, level, settings)
        case VectorReference():
            return _of_vectors(reference, vectors(values), level, settings)


def missing_measure(missing: int, rows: int, of: tuple[int, int], level: float, base: float) -> Measure:
    """How far the share of missing values is from what it was, `of` being missing and rows of the reference."""
    return _share("missing", (missing, rows), of, level, base)


def _of_numbers(
    reference: NumberReference, values: Floats, level: float, settings: MonitoringSettings
) -> list[Measure]:
    n, m = reference.count, len(values)
    counts = np.bincount(np.searchsorted(reference.edges, values), minlength=len(reference.counts))
    outside = float(((values < reference.low) | (values > reference.high)).mean())
    sketch = np.asarray(reference.sketch)
    return [
        _alarming("psi", psi(reference.counts, counts), settings.psi, psi_noise(len(counts), n, m, level)),
        _alarming("unseen", outside, settings.unseen, unseen_noise(2, n, m, level)),
        Measure("kolmogorov_smirnov", kolmogorov_smirnov(sketch, values)),
        Measure("wasserstein", wasserstein(sketch, values, reference.std or 1.0)),
    ]


def _of_categories(
    reference: CategoryReference, window: Counter[str], level: float, settings: MonitoringSettings
) -> list[Measure]:
    n, m = reference.count, window.total()
    frequent = [name for name, count in reference.counts.items() if count * m >= EXPECTED * n]
    before = [reference.counts[name] for name in frequent]
    now = [window[name] for name in frequent]
    rest = (n - sum(before), m - sum(now))
    if any(rest):
        before, now = [*before, rest[0]], [*now, rest[1]]
    unseen = (
        sum(count for name, count in window.items() if name not in reference.counts) if reference.is_complete else 0
    )
    return [
        _alarming("psi", psi(before, now), settings.psi, psi_noise(len(before), n, m, level)),
        _alarming("unseen", unseen / m, settings.unseen, unseen_noise(reference.once + 1, n, m, level)),
        Measure("cramers_v", cramers_v(before, now)),
    ]


def _of_texts(
    reference: TextReference, texts: Sequence[str], level: float, settings: MonitoringSettings
) -> list[Measure]:
    sizes = np.asarray([len(text) for text in texts], dtype=np.float64)
    by_length = _of_numbers(reference.lengths, sizes, level, settings)
    empty = sum(not text.strip() for text in texts)
    measures = [
        by_length[0],
        _share("empty", (empty, len(texts)), (reference.empty, reference.count), level, settings.missing),
    ]
    worded = [words for words in map(words_of, texts) if words]
    n, m = reference.worded, len(worded)
    if min(n, m) < FEWEST_VALUES:
        return measures
    unknown = 1 - np.asarray([known_words(words, reference.words) for words in worded])
    # Not the deviation of the reference alone: texts that are all alike have none.
    spread = max(reference.unknown_std, float(unknown.std()))
    rise = abs(float(unknown.mean()) - reference.unknown_mean)
    measures.append(_alarming("unknown_words", rise, settings.words, mean_noise(spread, n, m, level)))
    changes = word_changes(reference, worded)
    if changes:
        # At worst half of the texts have the word, and any of the words may be the one.
        noise = mean_noise(0.5, n, m, level / len(changes))
        farthest = max(abs(now - before) for before, now in changes.values())
        measures.append(_alarming("word", farthest, settings.words, noise))
    return measures


def word_changes(reference: TextReference, worded: Sequence[set[str]]) -> dict[str, tuple[float, float]]:
    """For each word of the vocabulary, the share of texts that have it: in training, and among some texts' words."""
    window = Counter(word for words in worded for word in words)
    return {word: (count / reference.worded, window[word] / len(worded)) for word, count in reference.words.items()}


def _of_vectors(
    reference: VectorReference, matrix: Floats, level: float, settings: MonitoringSettings
) -> list[Measure]:
    by_norm = _of_numbers(reference.norms, lengths(matrix), level, settings)
    noise = mean_noise(1.0, reference.count, len(matrix), level / len(reference.elements))
    farthest = float(np.abs(element_shifts(reference, matrix)).max())
    return [*by_norm, _alarming("mean", farthest, settings.shift, noise)]


def element_shifts(reference: VectorReference, matrix: Floats) -> Floats:
    """How far the mean of each element is from what it was, in standard deviations, or as it is where there is none."""
    spread = np.asarray(reference.stds)
    means = matrix[:, list(reference.elements)].mean(axis=0)
    shifts: Floats = (means - np.asarray(reference.means)) / np.where(spread > 0, spread, 1.0)
    return shifts


def _share(name: MeasureName, now: tuple[int, int], before: tuple[int, int], level: float, base: float) -> Measure:
    distance = abs(now[0] / now[1] - before[0] / before[1])
    return _alarming(name, distance, base, share_noise(*before, now[1], level))


def _alarming(name: MeasureName, value: float, base: float, noise: float) -> Measure:
    return Measure(name, value, noise, base + noise)
