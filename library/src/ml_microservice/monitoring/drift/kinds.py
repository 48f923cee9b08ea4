"""The measures of numbers, categories, texts and vectors, and the limits beyond which they raise an alarm."""

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
"""Values that the reference and the window must have; with fewer, only the share of missing values is compared."""
EXPECTED = 5
"""Expected values of a category. Rarer categories are merged, because the logarithm of a small count is noise."""
COMPARISONS = {"number": 2, "category": 2, "text": 4, "vector": 3}
"""Number of measures that may raise an alarm, by kind; the share of missing values is not counted."""


def measures_of(
    reference: Values,
    type_: str,
    values: Sequence[Any],
    level: float,
    settings: MonitoringSettings,
    *,
    only_alarming: bool = False,
) -> list[Measure]:
    """Compare values with their reference. The result is empty if there are too few values.

    Args:
        reference: the reference of these values.
        type_: type of the feature; `number` or `category` for predictions.
        values: recorded values, without missing ones.
        level: probability that a measure exceeds its noise by chance.
        settings: the sizes from which on measures matter.
        only_alarming: whether to leave out measures that raise no alarm.
    """
    if min(len(values), reference.count) < FEWEST_VALUES:
        return []
    match reference:
        case NumberReference():
            array = moments(values) if type_ == "datetime" else numbers(values)
            measures = _of_numbers(reference, array, level, settings)
            return measures if only_alarming else [*measures, *_distances(reference, array)]
        case CategoryReference():
            return _of_categories(reference, Counter(categories(values)), level, settings)
        case TextReference():
            return _of_texts(reference, values, level, settings)
        case VectorReference():
            matrix = vectors(values)
            by_norm = _of_numbers(reference.norms, lengths(matrix), level, settings)
            distances = [] if only_alarming else _distances(reference.norms, lengths(matrix))
            return [*by_norm, *distances, _of_elements(reference, matrix, level, settings)]


def missing_measure(missing: int, rows: int, of: tuple[int, int], level: float, base: float) -> Measure:
    """The change of the share of missing values. `of` has the missing values and the rows of the reference."""
    return _share("missing", (missing, rows), of, level, base)


def _of_numbers(
    reference: NumberReference, values: Floats, level: float, settings: MonitoringSettings
) -> list[Measure]:
    n, m = reference.count, len(values)
    counts = np.bincount(np.searchsorted(reference.edges, values), minlength=len(reference.counts))
    outside = float(((values < reference.low) | (values > reference.high)).mean())
    return [
        _alarming("psi", psi(reference.counts, counts), settings.psi, psi_noise(len(counts), n, m, level)),
        _alarming("unseen", outside, settings.unseen, unseen_noise(2, n, m, level)),
    ]


def _distances(reference: NumberReference, values: Floats) -> list[Measure]:
    """Measures that describe a change and raise no alarm."""
    sketch = np.asarray(reference.sketch)
    return [
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
    # The reference alone is not enough: equal texts have no deviation.
    spread = max(reference.unknown_std, float(unknown.std()))
    rise = abs(float(unknown.mean()) - reference.unknown_mean)
    measures.append(_alarming("unknown_words", rise, settings.words, mean_noise(spread, n, m, level)))
    changes = word_changes(reference, worded)
    if changes:
        # The noise of a share is largest at one half, and any of the words may be the one that changes.
        noise = mean_noise(0.5, n, m, level / len(changes))
        farthest = max(abs(now - before) for before, now in changes.values())
        measures.append(_alarming("word", farthest, settings.words, noise))
    return measures


def word_changes(reference: TextReference, worded: Sequence[set[str]]) -> dict[str, tuple[float, float]]:
    """For each word of the vocabulary, the share of texts that contain it, in training and in a window.

    Args:
        reference: the texts of training.
        worded: the words of each text of the window.
    """
    window = Counter(word for words in worded for word in words)
    return {word: (count / reference.worded, window[word] / len(worded)) for word, count in reference.words.items()}


def _of_elements(reference: VectorReference, matrix: Floats, level: float, settings: MonitoringSettings) -> Measure:
    noise = mean_noise(1.0, reference.count, len(matrix), level / len(reference.elements))
    farthest = float(np.abs(element_shifts(reference, matrix)).max())
    return _alarming("mean", farthest, settings.shift, noise)


def element_shifts(reference: VectorReference, matrix: Floats) -> Floats:
    """The change of each element's mean, in standard deviations of training; as it is where the deviation is 0."""
    spread = np.asarray(reference.stds)
    means = matrix[:, list(reference.elements)].mean(axis=0)
    shifts: Floats = (means - np.asarray(reference.means)) / np.where(spread > 0, spread, 1.0)
    return shifts


def _share(name: MeasureName, now: tuple[int, int], before: tuple[int, int], level: float, base: float) -> Measure:
    distance = abs(now[0] / now[1] - before[0] / before[1])
    return _alarming(name, distance, base, share_noise(*before, now[1], level))


def _alarming(name: MeasureName, value: float, base: float, noise: float) -> Measure:
    return Measure(name, value, noise, base + noise)
