"""Sentences that say what a comparison found."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from ml_microservice.artefact.reference import (
    CategoryReference,
    NumberReference,
    TextReference,
    Values,
    VectorReference,
)
from ml_microservice.monitoring.drift.kinds import element_shifts, word_changes
from ml_microservice.monitoring.drift.result import Measure
from ml_microservice.monitoring.values import Floats, categories, lengths, moments, numbers, vectors, words_of
from ml_microservice.pages.number_format import limit, percent

WHAT = {"feature": "values", "prediction": "predictions", "confidence": "probabilities"}


def finding(
    measure: Measure,
    reference: Values | None,
    type_: str,
    role: str,
    values: Sequence[Any],
    missing: tuple[float, float],
) -> str:
    """A sentence about a measure.

    Args:
        measure: the measure farthest from its limit.
        reference: the reference of the values; None if training had no value.
        type_: type of the feature; `number` or `category` for predictions.
        role: `feature`, `prediction` or `confidence`.
        values: recorded values, without missing ones.
        missing: share of missing values, in training and now.
    """
    if measure.name == "missing":
        return f"{_some(missing[1])} of the values are missing; it was {_some(missing[0])} in training."
    match reference:
        case NumberReference():
            array = moments(values) if type_ == "datetime" else numbers(values)
            return _numbers(measure, reference, type_, WHAT[role], array)
        case CategoryReference():
            return _categories(measure, reference, WHAT[role], categories(values))
        case TextReference():
            return _texts(measure, reference, values)
        case VectorReference():
            return _vectors(measure, reference, vectors(values))
    return "Training had no value of it."


def _numbers(measure: Measure, reference: NumberReference, type_: str, what: str, values: Floats) -> str:
    span = reference.high - reference.low
    if measure.name == "unseen":
        low, high = (_written(value, type_, span) for value in (reference.low, reference.high))
        where = f"{low} to {high}" if span else f"always {low}"
        return f"{_some(measure.value)} of the {what} are outside of what training had ({where})."
    before, now = (np.quantile(part, (0.25, 0.5, 0.75)) for part in (np.asarray(reference.sketch), values))
    if abs(now[1] - before[1]) > 0.1 * (before[2] - before[0] or reference.std):
        comparative = ("later" if now[1] > before[1] else "earlier") if type_ == "datetime" else "higher"
        comparative = "lower" if comparative == "higher" and now[1] < before[1] else comparative
        middle = [_written(value, type_, span) for value in (now[1], before[1])]
        return f"The {what} are {comparative}: their median is {middle[0]}; it was {middle[1]} in training."
    ends = [_written(value, type_, span) for value in (now[0], now[2], before[0], before[2])]
    return (
        f"The {what} are spread otherwise: half of them are from {ends[0]} to {ends[1]}; "
        f"in training, from {ends[2]} to {ends[3]}."
    )


def _categories(measure: Measure, reference: CategoryReference, what: str, values: Sequence[str]) -> str:
    window = Counter(values)
    if measure.name == "unseen":
        unseen = Counter({name: count for name, count in window.items() if name not in reference.counts})
        name = unseen.most_common(1)[0][0] if unseen else ""
        return f"{_some(measure.value)} of the {what} are ones that training did not have, most often “{name}”."
    changes = {name: (count / reference.count, window[name] / len(values)) for name, count in reference.counts.items()}
    return _change(changes, f"the {what}")


def _texts(measure: Measure, reference: TextReference, texts: Sequence[str]) -> str:
    worded = [words for words in map(words_of, texts) if words]
    if measure.name == "empty":
        share = sum(not text.strip() for text in texts) / len(texts)
        return f"{_some(share)} of the texts are empty; it was {_some(reference.empty / reference.count)} in training."
    if measure.name == "unknown_words":
        unknown = float(np.mean([sum(word not in reference.words for word in words) / len(words) for words in worded]))
        return (
            f"{_some(unknown)} of the words of a text are not among the {len(reference.words)} most frequent ones of "
            f"training; it was {_some(reference.unknown_mean)}."
        )
    if measure.name == "word":
        return _change(word_changes(reference, worded), "the texts", verb="is in")
    before, now = (float(np.median(sizes)) for sizes in (reference.lengths.sketch, [len(text) for text in texts]))
    comparative = "longer" if now > before else "shorter" if now < before else "of other lengths"
    return f"The texts are {comparative}: their median is {now:,.0f} characters; it was {before:,.0f} in training."


def _vectors(measure: Measure, reference: VectorReference, matrix: Floats) -> str:
    if measure.name == "mean":
        shifts = element_shifts(reference, matrix)
        place = int(np.abs(shifts).argmax())
        way = "higher" if shifts[place] > 0 else "lower"
        deviations = f"{abs(shifts[place]):.2g} standard deviations"
        return (
            f"Element {reference.elements[place]}, counted from 0, is {deviations} {way} on average than in training."
        )
    words = _numbers(measure, reference.norms, "float", "values", lengths(matrix))
    return words.replace("The values are", "The vectors' lengths are").replace("the values", "the vectors' lengths")


def _change(changes: dict[str, tuple[float, float]], whole: str, verb: str = "is") -> str:
    name, (before, now) = max(changes.items(), key=lambda item: abs(item[1][1] - item[1][0]))
    return f"“{name}” {verb} {_some(now)} of {whole}; it was {_some(before)} in training."


def _some(share: float) -> str:
    return percent(share) if share else "none"


def _written(value: float, type_: str, span: float) -> str:
    if type_ != "datetime":
        return limit(float(value))
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(value))
    return f"{moment:%Y-%m-%d}" if span > 3 * 86400 else f"{moment:%Y-%m-%d %H:%M}"
