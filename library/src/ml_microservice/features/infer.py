"""Inference of what `features.yaml` leaves open, from the training frame: types, target and task."""

import json
import re
from typing import Any

import pandas as pd

from ml_microservice.errors import ConfigError, Fault, FrameError, listed
from ml_microservice.features.column_type import feature_of
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_rules import DATA_LOADER_FILE
from ml_microservice.features.frame_schema import missing_columns, shape_faults
from ml_microservice.features.frame_values import is_number, is_whole, moments, numbers
from ml_microservice.features.request import jsonable
from ml_microservice.features.spec import (
    DatetimeFeature,
    Feature,
    FeatureDraft,
    FeatureSpec,
    FloatFeature,
    IntFeature,
    Task,
)

FEW_CLASSES = 20
"""At most so many distinct whole numbers are taken for classes."""
DEFAULT_TARGET = "target"
"""The column that is predicted where nothing else says which; scikit-learn's own data sets call it so."""
HEADER = """\
# What the model predicts, and from what. Drafted from the training frame by `ml-service features infer`.
# Read it through: what was seen is not a rule yet. Where you know the limits, add `min` and `max`; where a request may
# lack a value, `optional: true`; where it is personal data, `pii: true`. `description` and `unit` help those who call.
"""
KEYS = (
    "values", "length", "min", "max", "max_length", "optional", "default", "unit", "description", "example", "pii",
)  # fmt: skip
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*( [A-Za-z0-9_]+)*")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
UNPRINTABLE = re.compile("[^ -~\u00a0-\u2027\u2030-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def infer_features(draft: FeatureDraft | None, frame: pd.DataFrame, id_name: str | None) -> FeatureSpec:
    """Complete a draft from the training frame; what it says is kept as it is.

    Without features in the draft, or without a draft, all columns but the target and the entity id are features.

    Raises:
        ConfigError: nothing says which column is the target.
        FrameError: the frame is empty, lacks a column, or has one whose type cannot be inferred.
    """
    draft = draft or FeatureDraft(task=None, target=None, features=())
    faults = shape_faults(frame) + missing_columns(frame, draft.names, draft.target)
    if not draft.features:
        faults += _name_faults(frame)
    if faults:
        raise FrameError(*faults)
    target = draft.target or _target(draft, frame, id_name)
    entries = draft.features or tuple(column for column in frame.columns if column not in (target, id_name))
    found = [feature_of(entry, frame[entry]) if isinstance(entry, str) else entry for entry in entries]
    if faults := [item for item in found if isinstance(item, Fault)]:
        raise FrameError(*faults)
    features = tuple(item for item in found if not isinstance(item, Fault))
    if not features:
        advice = "let load_data return the columns to predict from"
        raise FrameError(Fault(f"the frame has no column beside {target!r}", DATA_LOADER_FILE, advice=advice))
    return FeatureSpec(task=draft.task or _task(frame[target]), target=target, features=features)


def write_features(spec: FeatureSpec, frame: pd.DataFrame) -> str:
    """The text of a `features.yaml` that says the same as `spec`, with comments on what was seen in the frame."""
    lines = [HEADER, f"task: {spec.task}", f"target: {_scalar(spec.target)}", "", "features:"]
    for feature in spec.features:
        lines.append(f"  - name: {_scalar(feature.name)}")
        seen = "" if feature.pii or feature.name not in frame else _seen(feature, frame[feature.name].dropna())
        lines.append(f"    type: {feature.type}" + (f"  # seen: {seen}" if seen else ""))
        lines += [f"    {key}: {_scalar(value)}" for key, value in _chosen(feature).items()]
        lines.append("")
    return "\n".join(lines)


def _name_faults(frame: pd.DataFrame) -> list[Fault]:
    advice = "let DataLoader return names of 1 to 200 characters: frame.rename(columns=str)"
    return [
        Fault(f"column {name!r} cannot be the name of a feature", DATA_LOADER_FILE, advice=advice)
        for name in frame.columns
        if not (isinstance(name, str) and 0 < len(name) <= 200)
    ]


def _target(draft: FeatureDraft, frame: pd.DataFrame, id_name: str | None) -> str:
    unlisted = [column for column in frame.columns if column not in (*draft.names, id_name)]
    if draft.features and len(unlisted) == 1 and isinstance(unlisted[0], str):
        return unlisted[0]
    if DEFAULT_TARGET in unlisted:
        return DEFAULT_TARGET
    if not unlisted:
        message = "every column of the training frame is a feature, so that none is left to predict"
        advice = "take the column to predict out of the features and add 'target: NAME'"
    else:
        message = "nothing says which column to predict"
        advice = (
            f"add 'target: NAME', and the names to predict from under 'features:'; not used yet: {listed(unlisted)}"
        )
    raise ConfigError(Fault(message, FEATURES_FILE, advice=advice))


def _task(target: "pd.Series[Any]") -> Task:
    """Classification if the target is made of labels, or of few whole numbers that are seen again."""
    values = target.dropna()
    if isinstance(target.dtype, pd.CategoricalDtype) or not is_number(values).all():
        return "classification"
    few = numbers(values).nunique() <= min(FEW_CLASSES, len(values) // 2)
    return "classification" if few and is_whole(values).all() else "regression"


def _chosen(feature: Feature) -> dict[str, Any]:
    """What a feature says beyond its name and type; not the example of personal data."""
    fields = type(feature).model_fields
    known = [key for key in KEYS if key in fields and not (key == "example" and feature.pii)]
    return {key: value for key in known if (value := getattr(feature, key)) != fields[key].default}


def _seen(feature: Feature, values: "pd.Series[Any]") -> str:
    match feature:
        case FloatFeature() | IntFeature():
            found = numbers(values).dropna()
            return f"{_short(found.min())} to {_short(found.max())}" if len(found) else ""
        case DatetimeFeature():
            times = moments(values).dropna()
            return f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else ""
        case _:
            return ""


def _short(number: float) -> str:
    return f"{number:.0f}" if number == round(number, 0) and abs(number) < 1e15 else f"{number:.6g}"


def _scalar(value: Any) -> str:
    """A value as YAML; text is quoted wherever YAML 1.1 or 1.2 could take it for something else."""
    value = jsonable(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_scalar, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda match: f"\\U{ord(match[0]):08x}", quoted)
