"""Example values, derived from `features.yaml`: one row for the documentation, or any number for simulated traffic."""

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_microservice.features.request import jsonable
from ml_microservice.features.spec import (
    EARLIEST,
    INT64,
    LATEST,
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FeatureSpec,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")
WORDS_PER_TEXT = 6
SPREAD = timedelta(days=30)


def example_row(spec: FeatureSpec) -> dict[str, Any]:
    """A row as a request would carry it: each feature's example, else its default, else any value that it allows."""
    return {feature.name: jsonable(_typical(feature)) for feature in spec.features}


def example_rows(spec: FeatureSpec, n: int, rng: random.Random, *, missing: float = 0.0) -> Iterator[dict[str, Any]]:
    """Random rows that the rules allow, around the typical values where nothing bounds them.

    `missing` is the share of values that are missing where they may be: null where the feature is optional, left out
    where only a default stands in for it.
    """
    for _ in range(n):
        row: dict[str, Any] = {}
        for feature in spec.features:
            if not feature.required and rng.random() < missing:
                if feature.optional:
                    row[feature.name] = None
            else:
                row[feature.name] = jsonable(_random(feature, rng))
        yield row


def _typical(feature: Feature) -> Any:
    if feature.example is not None:
        return feature.example
    if feature.default is not None:
        return feature.default
    match feature:
        case FloatFeature(min=low, max=high):
            return _between(low, high)
        case IntFeature(min=low, max=high):
            if low is not None and high is not None:
                return (low + high) // 2
            return _clamp(0, low, high)
        case BoolFeature():
            return True
        case CategoryFeature(values=values):
            return values[0]
        case StringFeature(max_length=limit):
            return " ".join(WORDS[:2])[:limit]
        case DatetimeFeature(min=low, max=high):
            return _clamp(datetime(2024, 1, 1, tzinfo=UTC), low, high)
        case VectorFeature(min=low, max=high, length=length):
            return (_between(low, high),) * length


def _random(feature: Feature, rng: random.Random) -> Any:
    typical = _typical(feature)
    match feature:
        case FloatFeature(min=low, max=high):
            return _random_float(typical, low, high, rng)
        case IntFeature(min=low, max=high):
            spread = max(10, abs(typical) // 2)
            least = max(typical - spread, -INT64) if low is None else low
            most = min(typical + spread, INT64 - 1) if high is None else high
            return rng.randint(least, most)
        case BoolFeature():
            return rng.random() < 0.5
        case CategoryFeature(values=values):
            return rng.choice(values)
        case StringFeature(max_length=limit):
            words = typical.split() or WORDS
            return " ".join(rng.choices(words, k=rng.randint(1, WORDS_PER_TEXT)))[:limit]
        case DatetimeFeature(min=low, max=high):
            least = max(low or typical - min(SPREAD, typical - EARLIEST), EARLIEST)
            most = min(high or typical + min(SPREAD, LATEST - typical), LATEST)
            return least + timedelta(seconds=rng.randint(0, (most - least) // timedelta(seconds=1)))
        case VectorFeature(min=low, max=high):
            return [_random_float(element, low, high, rng) for element in typical]


def _random_float(typical: float, low: float | None, high: float | None, rng: random.Random) -> float:
    spread, largest = max(1.0, abs(typical) / 2), sys.float_info.max
    least = max(typical - spread, -largest) if low is None else low
    most = min(typical + spread, largest) if high is None else high
    share = rng.random()
    # The difference of the two could overflow, their weighted sum cannot.
    return float(_clamp(least * (1 - share) + most * share, least, most))


def _between(low: float | None, high: float | None) -> float:
    middle = low / 2 + high / 2 if low is not None and high is not None else 0.0
    return float(_clamp(middle, low, high))


def _clamp(value: Any, low: Any, high: Any) -> Any:
    if low is not None and value < low:
        return low
    return high if high is not None and value > high else value
