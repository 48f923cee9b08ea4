"""Checks of the Preprocessor: it transforms a request exactly as the same row in training."""

import copy
import pickle
import random
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from ml_microservice.conformance.context import ALONE_ROWS, PROBE_ROWS, Context, quietly
from ml_microservice.conformance.edges import UNSEEN_VALUE, UNSEEN_WORDS, edges
from ml_microservice.conformance.equality import Output, alike
from ml_microservice.conformance.wording import about_columns, given
from ml_microservice.errors import Fault, HookError, listed
from ml_microservice.features.examples import example_rows
from ml_microservice.training.fitted_model import fit_preprocessor
from ml_microservice.training.golden import as_request
from ml_microservice.training.hooks import LOADER_FILE, TRAIN_FILE, calling

TRANSFORM = "Preprocessor.transform"
LEARN_IN_FIT = "learn it in fit, keep it on self, and only apply it in transform"


def check_fit(context: Context) -> Iterator[Fault]:
    """Fit the Preprocessor, and transform the training rows and the held-out rows."""
    try:
        context.prepared = fit_preprocessor(context.hooks, context.split, context.seed)
    except HookError as error:
        yield from about_columns(error, context)
        return
    try:
        context.transform(context.split.test)
    except HookError as error:
        yield given(error, TRANSFORM, "the rows held out to evaluate on, which fit has not seen")


def check_rows(context: Context) -> Iterator[Fault]:
    """Transform some rows and the first half of them: neither their order nor the input may change."""
    yield from _changes_of_input(context)
    half = context.probe.iloc[: (len(context.probe) + 1) // 2]
    if _is_reordered(context.transform(half), context.transform(context.probe)):
        advice = "return the rows as they came; sorting, grouping and merging belong into DataLoader"
        yield Fault(f"{TRANSFORM} changes the order of the rows", TRAIN_FILE, advice=advice)


def check_stateless(context: Context) -> Iterator[Fault]:
    """Transform the same rows again, after other rows, with another index, and without the rows beside them."""
    probe = context.probe
    whole = context.transform(probe)
    if not _same(context.transform(probe), whole):
        message = f"{TRANSFORM} returns another result each time it is given the same rows"
        advice = f"draw nothing at random there, or set random_state; if it keeps count of what it saw: {LEARN_IN_FIT}"
        yield Fault(message, TRAIN_FILE, advice=advice)
        return
    _transform_others(context)
    if not _same(context.transform(probe), whole) or _remembers_arrivals(context):
        message = f"{TRANSFORM} gives the same rows another result after it was given others: it goes on learning"
        yield Fault(message, TRAIN_FILE, advice=LEARN_IN_FIT)
        return
    if not _same(context.transform(probe.reset_index(drop=True)), whole):
        message = (
            f"{TRANSFORM} returns another result if the index of the frame is another; requests are numbered from 0"
        )
        advice = "make frames inside of it with index=X.index, or begin with X = X.reset_index(drop=True)"
        yield Fault(message, TRAIN_FILE, advice=advice)
        return
    yield from _influence_of_neighbours(context, whole)


def check_requests(context: Context) -> Iterator[Fault]:
    """Send training rows through JSON and the request model, and compare the results of transform."""
    sample = context.frame.sample(min(PROBE_ROWS, len(context.frame)), random_state=context.seed)
    trained_on = context.layout.from_frame(sample).reset_index(drop=True)
    rows = trained_on.to_dict(orient="records")
    requested = context.requests.frame([as_request(row, context.spec) for row in rows])
    for feature in context.spec.features:
        if not requested[feature.name].equals(trained_on[feature.name]):
            message = f"feature {feature.name!r} reaches {TRANSFORM} in another form in a request than in training"
            advice = f"convert it in DataLoader to what JSON can carry, or choose another type than {feature.type!r}"
            yield Fault(message, LOADER_FILE, advice=advice)
    if not _same(context.transform(requested), context.transform(trained_on)):
        message = f"{TRANSFORM} gives a request another result than the same row in training"
        yield Fault(message, TRAIN_FILE, advice="use nothing of X but the values of its columns")


def _changes_of_input(context: Context) -> Iterator[Fault]:
    frame = pickle.loads(pickle.dumps(context.probe))  # a deep copy, with the arrays inside of vectors
    with quietly(), calling(TRANSFORM):
        context.prepared.preprocessor.transform(frame)
    if not frame.equals(context.probe):
        before = set(context.probe.columns)
        added = [column for column in frame.columns if column not in before]
        what = f": it adds {listed(map(repr, added))}" if added else ""
        message = f"{TRANSFORM} changes the frame that it is given{what}"
        yield Fault(message, TRAIN_FILE, advice="begin with X = X.copy()")


def _same(left: Output, right: Output) -> bool:
    same_shape = left.rows.shape == right.rows.shape and left.columns == right.columns
    return same_shape and bool(alike(left.rows, right.rows).all())


def _transform_others(context: Context) -> None:
    """Let the Preprocessor transform rows that it was fitted on, and made-up rows."""
    train, spec = context.split.train, context.spec
    context.transform(train.sample(min(PROBE_ROWS, len(train)), random_state=context.seed))
    with suppress(HookError):  # the edge cases check what it has to accept
        made_up = example_rows(spec, PROBE_ROWS, random.Random(context.seed), missing=0.2)
        context.transform(context.requests.frame(list(made_up)))


def _is_reordered(part: Output, whole: Output) -> bool:
    """Whether transform returns the same rows in another order."""
    if part.rows.shape[1] != whole.rows.shape[1]:
        return False
    moved = part.rows[~alike(part.rows, whole.rows[: len(part.rows)])]
    places = [alike(np.repeat(row[None, :], len(whole.rows), axis=0), whole.rows) for row in moved]
    return bool(places) and all(place.any() for place in places)


def _influence_of_neighbours(context: Context, whole: Output) -> Iterator[Fault]:
    """At most one fault. Half of the rows come first, because they reveal a statistic of the rows."""
    probe = context.probe
    half = list(range(len(probe) // 2))
    singles = [("a single row", [row]) for row in range(min(ALONE_ROWS, len(probe)))]
    for words, rows in [(f"{len(half)} rows", half), *singles] if half else singles:
        frame = probe.iloc[rows]
        try:
            part = context.transform(frame)
        except HookError as error:
            if len(frame) == 1 and frame.isna().any(axis=None):
                continue  # the edge cases report a gap in better words
            advice = "a request is a frame of one row: let nothing depend on how many there are"
            yield given(error, TRANSFORM, words, advice)
            return
        fault = _difference(part, Output(whole.rows[rows], whole.columns), words, len(probe))
        if fault is not None:
            yield fault
            return


def _difference(part: Output, expected: Output, words: str, count: int) -> Fault | None:
    """The fault of rows that are transformed differently without the others; None if there is none."""
    widths = part.rows.shape[1], expected.rows.shape[1]
    if widths[0] != widths[1]:
        message = f"{TRANSFORM} returns {widths[0]} columns for {words}, but {widths[1]} for {count} rows"
        advice = f"the columns may not depend on the rows that are there, as with pd.get_dummies: {LEARN_IN_FIT}"
        return Fault(message, TRAIN_FILE, advice=advice)
    if part.columns != expected.columns:
        message = f"{TRANSFORM} names its columns differently for {words} than for {count} rows"
        return Fault(message, TRAIN_FILE, advice=LEARN_IN_FIT)
    if not _same(part, expected):
        message = f"{TRANSFORM} gives {words} another result alone than among {count} rows"
        advice = f"it learns from the rows it is given, such as their mean or their ranks: {LEARN_IN_FIT}"
        return Fault(message, TRAIN_FILE, advice=advice)
    return None


def _remembers_arrivals(context: Context) -> bool:
    """Whether the order matters in which unseen values arrive."""
    unseen = [edge for edge in edges(context) if edge.kind in (UNSEEN_VALUE, UNSEEN_WORDS)][:ALONE_ROWS]
    frames = [context.requests.frame([edge.request]) for edge in unseen]
    with suppress(Exception):  # other checks report what cannot be copied or transformed
        one, other = copy.deepcopy(context.prepared.preprocessor), copy.deepcopy(context.prepared.preprocessor)
        forwards = [context.transform(frame, one) for frame in frames]
        backwards = [context.transform(frame, other) for frame in reversed(frames)]
        return not all(map(_same, forwards, reversed(backwards)))
    return False
