"""Checks of the training frame."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ml_microservice.conformance.context import Context
from ml_microservice.errors import Fault
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_schema import check_frame, shape_faults
from ml_microservice.features.infer import infer_features
from ml_microservice.features.layout import FrameLayout, is_missing
from ml_microservice.features.spec import VectorFeature
from ml_microservice.training.hooks import LOADER_FILE, load_hooks
from ml_microservice.training.split import load_frame, split_frame

FEW_ROWS = 10


def check_load(context: Context) -> Iterator[Fault]:
    """Load the frame, and then only a few rows of it."""
    frame = load_frame(context.hooks, context.n_rows)
    yield from shape_faults(frame)
    context.frame = frame
    few = max(1, min(FEW_ROWS, len(frame) // 2))
    for asked, returned in ((context.n_rows, frame), (few, load_frame(context.hooks, few))):
        if asked is not None and not (isinstance(returned, pd.DataFrame) and len(returned) <= asked):
            found = f"{len(returned)} rows" if isinstance(returned, pd.DataFrame) else type(returned).__name__
            advice = "hand n_rows on, as in pd.read_csv(..., nrows=n_rows), or end with 'return frame.head(n_rows)'"
            yield Fault(f"load_data(n_rows={asked}) returned {found}", LOADER_FILE, advice=advice)
            return


def check_frame_rules(context: Context) -> Iterator[Fault]:
    """Complete `features.yaml` from the frame, and check the frame by its rules."""
    frame, id_name = context.frame, context.settings.id_name
    spec = infer_features(context.draft, frame, id_name)
    check_frame(frame, spec, id_name)
    context.spec = spec
    context.layout = FrameLayout.of(frame, spec)
    if context.task is None:
        # The task is known now, and with it whether get_classes is needed.
        context.hooks = load_hooks(context.root, spec.task)
    yield from ()


def check_target(context: Context) -> Iterator[Fault]:
    """Look for a feature that repeats the target under another name."""
    frame, target = context.frame, context.spec.target
    for feature in context.spec.features:
        if not isinstance(feature, VectorFeature) and all(map(_equal, frame[feature.name], frame[target])):
            message = f"feature {feature.name!r} is equal to the target {target!r} in every row"
            advice = "remove it from the features: the model would be shown the answer, which no request knows"
            yield Fault(message, FEATURES_FILE, advice=advice)


def check_split(context: Context) -> Iterator[Fault]:
    """Split the frame as training does."""
    context.split = split_frame(context.frame, context.spec, context.layout, context.settings.training)
    yield from ()


def _equal(value: Any, target: Any) -> bool:
    """Whether a feature's value equals the target's, also if one is a number and the other its text."""
    return not is_missing(value) and bool(value == target or str(value) == str(target))
