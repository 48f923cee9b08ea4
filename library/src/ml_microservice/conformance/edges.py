"""Edge cases: valid requests with values that no training row has, such as gaps, limits and unseen words."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ml_microservice.conformance.context import Context
from ml_microservice.conformance.wording import given
from ml_microservice.errors import Fault, HookError, listed
from ml_microservice.features.examples import example_row
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.request import jsonable
from ml_microservice.features.spec import (
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)
from ml_microservice.training.golden import as_request

MAX_EDGES = 200
"""The most requests that differ in one feature; each costs a call."""
MAX_VALUES = 5
"""The most unseen values of one category to try."""
MAX_TEXT = 10_000
NEVER_SEEN = ("zyxwvut qponmlk", "ñandú 日本語 🐧")


@dataclass(frozen=True)
class Kind:
    """A kind of edge case."""

    words: str
    """What a hook was given; `{}` is replaced by the features."""
    advice: str
    combined: bool = False
    """Whether several features are changed at once; reported only if no single feature fails."""


FILL = f"let Preprocessor fill the gap, for example by SimpleImputer, or remove 'optional: true' in {FEATURES_FILE}"
GUARD = "take care of it in Preprocessor.transform"
NARROW = f"{GUARD}, or narrow the range in {FEATURES_FILE}"

ORDINARY = Kind(
    "the request of a row that it was trained on", "the service gives it one row at a time, numbered from 0"
)
MISSING = Kind("a request without the optional {}", FILL)
ALL_MISSING = Kind("a request without any of the optional {}", FILL, combined=True)
DEFAULT = Kind("a request without {}, which gets its default", f"{GUARD}, or choose another default in {FEATURES_FILE}")
SMALLEST = Kind("a request with nothing but what is required", GUARD, combined=True)
UNSEEN_VALUE = Kind(
    "{}, which a request may carry but no training row has",
    "let the encoder take it, as OneHotEncoder(handle_unknown='ignore') does, or remove it from `values` in "
    f"{FEATURES_FILE}",
)
UNSEEN_WORDS = Kind("words that no training row has in {}", GUARD)
EMPTY = Kind("empty text in {}", GUARD)
LONGEST = Kind("text of max_length characters in {}", f"{GUARD}, or lower max_length in {FEATURES_FILE}")
LEAST = Kind("{}, the least that is allowed", NARROW)
MOST = Kind("{}, the most that is allowed", NARROW)
EXAMPLE = Kind(
    "the example of the API documentation", f"give typical values as 'example' in {FEATURES_FILE}", combined=True
)


@dataclass(frozen=True)
class Edge:
    """One edge case."""

    kind: Kind
    subject: str
    """The feature, with its value if the value matters."""
    request: Mapping[str, Any]


def check_edges(context: Context) -> Iterator[Fault]:
    """Transform each edge case by itself."""
    yield from _failures(context, context.transform, "Preprocessor.transform")


def check_edge_answers(context: Context) -> Iterator[Fault]:
    """Predict each edge case by itself."""
    yield from _failures(context, context.predict, "predict")


def edges(context: Context) -> list[Edge]:
    """The edge cases of a project; most of them change one feature of an ordinary request."""
    spec, train = context.spec, context.split.train
    fullest = int(train.isna().sum(axis=1).to_numpy().argmin())
    base = as_request(train.iloc[[fullest]].to_dict(orient="records")[0], spec)
    single = [edge for feature in spec.features for edge in _of_feature(feature, base, train[feature.name])]
    if len(single) > MAX_EDGES:
        chosen = sorted(random.Random(context.seed).sample(range(len(single)), MAX_EDGES))
        single = [single[index] for index in chosen]
    found = [Edge(ORDINARY, "", base), *single]
    if optional := {feature.name: None for feature in spec.features if feature.optional}:
        found.append(Edge(ALL_MISSING, listed(map(repr, optional)), {**base, **optional}))
    required = [feature.name for feature in spec.features if feature.required]
    found.append(Edge(SMALLEST, "", {name: base[name] for name in required}))
    found.append(Edge(EXAMPLE, "", example_row(spec)))
    return found


def _of_feature(feature: Feature, base: Mapping[str, Any], seen: "pd.Series[Any]") -> Iterator[Edge]:
    name = feature.name
    if feature.optional:
        yield Edge(MISSING, repr(name), {**base, name: None})
    if feature.has_default:
        yield Edge(DEFAULT, repr(name), {key: value for key, value in base.items() if key != name})
    for kind, value in _values(feature, seen):
        shown = repr(name) if isinstance(feature, StringFeature) else f"{name!r} = {jsonable(value)!r}"
        shown = f"every element of {name!r} = {value[0]!r}" if isinstance(feature, VectorFeature) else shown
        yield Edge(kind, shown, {**base, name: jsonable(value)})


def _values(feature: Feature, seen: "pd.Series[Any]") -> Iterator[tuple[Kind, Any]]:
    """Values at the limits of a feature, and values that no training row has."""
    match feature:
        case CategoryFeature() | BoolFeature():
            allowed = feature.values if isinstance(feature, CategoryFeature) else (False, True)
            known = set(seen.dropna().tolist())
            yield from (
                (UNSEEN_VALUE, value) for value in [value for value in allowed if value not in known][:MAX_VALUES]
            )
        case StringFeature(max_length=limit):
            yield from ((UNSEEN_WORDS, words[:limit]) for words in NEVER_SEEN)
            yield EMPTY, ""
            yield LONGEST, ("lorem ipsum " * MAX_TEXT)[: min(limit, MAX_TEXT)]
        case FloatFeature() | IntFeature() | DatetimeFeature():
            limits = ((LEAST, feature.min), (MOST, feature.max))
            yield from ((kind, limit) for kind, limit in limits if limit is not None)
        case VectorFeature(length=length):
            bounds = ((LEAST, feature.min), (MOST, feature.max))
            yield from ((kind, [bound] * length) for kind, bound in bounds if bound is not None)


def _failures(context: Context, answer: Callable[[pd.DataFrame], object], hook: str) -> Iterator[Fault]:
    """One fault for each kind of failure, with all features that it affects."""
    failed: dict[tuple[object, ...], list[tuple[Edge, HookError]]] = {}
    words_fail: set[str] = set()
    for edge in edges(context):
        if edge.kind in (EMPTY, LONGEST) and edge.subject in words_fail:
            continue  # probably for the same reason
        try:
            answer(context.requests.frame([edge.request]))
        except HookError as error:
            likeness = (edge.kind, type(error.__cause__), error.faults[0].line)
            failed.setdefault(likeness, []).append((edge, error))
            if edge.kind is ORDINARY:
                break
            if edge.kind is UNSEEN_WORDS:
                words_fail.add(edge.subject)
    simple = [group for group in failed.values() if not group[0][0].kind.combined]
    for group in simple or list(failed.values())[:1]:
        kind, first = group[0][0].kind, group[0][1]
        subjects = listed(dict.fromkeys(edge.subject for edge, _ in group))
        yield given(first, hook, kind.words.format(subjects), kind.advice)
