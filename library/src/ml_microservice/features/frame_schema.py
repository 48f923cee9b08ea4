"""The check of the training frame against `features.yaml`: every fault is listed.

A column is judged by what it holds, not by its dtype: whole floats are good for `int`, pandas' nullable and Arrow
dtypes for all.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.errors import Fault, FrameError, did_you_mean, listed
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_rules import DATA_LOADER_FILE, UNICODE, Rule, feature_rules
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.features.target_rules import target_rules

ROWS_SHOWN = 5


def check_frame(frame: pd.DataFrame, spec: FeatureSpec, id_name: str | None) -> None:
    """Hold the training frame against `features.yaml`.

    Raises:
        FrameError: with one fault per feature and rule that it breaks, with counts and sample rows.
    """
    faults = shape_faults(frame)
    wanted = [*spec.names, spec.target]
    if id_name is not None and id_name in wanted:
        role = "target" if id_name == spec.target else "a feature"
        advice = "an id says nothing about new entities: remove it there, or set another id_name in config.yaml"
        faults.append(Fault(f"the entity id {id_name!r} is {role}", FEATURES_FILE, advice=advice))
    faults += missing_columns(frame, spec.names, spec.target)
    faults += _value_faults(frame, spec)
    if faults:
        raise FrameError(*faults)


def shape_faults(frame: pd.DataFrame) -> list[Fault]:
    """What keeps a frame from being checked column by column.

    Raises:
        FrameError: it is not a frame, or is empty, so that there is nothing more to say.
    """
    if not isinstance(frame, pd.DataFrame):
        kind = f"{type(frame).__module__}.{type(frame).__qualname__}".removeprefix("builtins.")
        advice = "return a pandas.DataFrame" + (": .to_pandas() makes one" if hasattr(frame, "to_pandas") else "")
        raise FrameError(Fault(f"load_data returned {kind}, not a pandas.DataFrame", DATA_LOADER_FILE, advice=advice))
    if frame.empty:
        what = "rows" if len(frame.columns) else "columns"
        advice = "check the source of the data and the filters in load_data"
        raise FrameError(Fault(f"load_data returned a frame without {what}", DATA_LOADER_FILE, advice=advice))
    repeated = list(dict.fromkeys(frame.columns[frame.columns.duplicated()]))
    advice = "rename or drop one of them: frame.loc[:, ~frame.columns.duplicated()] keeps the first"
    return [
        Fault(f"column {name!r} stands {list(frame.columns).count(name)} times", DATA_LOADER_FILE, advice=advice)
        for name in repeated
    ]


def missing_columns(frame: pd.DataFrame, features: Iterable[str], target: str | None) -> list[Fault]:
    """One fault per feature, and for the target, that the frame has no column for."""
    roles = {name: f"feature {name!r}" for name in features} | ({target: f"target {target!r}"} if target else {})
    unclaimed = [column for column in frame.columns if column not in roles]
    faults = []
    for name in [name for name in roles if name not in frame.columns]:
        message = f"{roles[name]} is not a column of the training frame"
        if any(str(column) == name for column in unclaimed):
            advice = "the frame's names are not text: return frame.rename(columns=str)"
            faults.append(Fault(message, DATA_LOADER_FILE, advice=advice))
        elif suggestion := did_you_mean(name, map(str, unclaimed)):
            faults.append(Fault(message, FEATURES_FILE, advice=suggestion))
        else:
            advice = f"let DataLoader return it, or correct the name; the frame has {listed(frame.columns)}"
            faults.append(Fault(message, FEATURES_FILE, advice=advice))
    return faults


def _value_faults(frame: pd.DataFrame, spec: FeatureSpec) -> list[Fault]:
    """One fault for each rule that a column breaks; columns that are not there are left out."""
    rules = {feature.name: feature_rules(feature) for feature in spec.features}
    rules[spec.target] = target_rules(spec.task)
    subjects = {feature.name: f"feature {feature.name!r} ({feature.type})" for feature in spec.features}
    subjects[spec.target] = f"target {spec.target!r}"
    secret = {feature.name for feature in spec.features if feature.pii}

    # By position: an index may name a row twice.
    columns = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True)
    return [
        _fault(subjects[name], rule, columns[name], rows, name in secret)
        for name in rules
        if name in columns
        for rule, rows in _broken(rules[name], columns[name])
    ]


def _broken(rules: Iterable[Rule], column: "pd.Series[Any]") -> Iterator[tuple[Rule, list[int]]]:
    """The rules that a column breaks, each with the positions of the rows that break it.

    A rule of the whole column has no positions. Text that is not Unicode is told alone.
    """
    not_unicode = _rows_against(UNICODE, column)
    if not_unicode is not None:
        yield UNICODE, not_unicode
        return
    for rule in rules:
        rows = _rows_against(rule, column)
        if rows is not None:
            yield rule, rows


def _rows_against(rule: Rule, column: "pd.Series[Any]") -> list[int] | None:
    """Positions of the rows that break a rule; none if the column breaks it as a whole; None if it is kept."""
    judged = column if rule.sees_missing else column.dropna()
    passes = rule.passes(judged)
    if not isinstance(passes, pd.Series):
        return None if passes else []
    rows: list[int] = judged.index[~np.asarray(passes, dtype=bool)].tolist()
    return rows or None


def _fault(subject: str, rule: Rule, column: "pd.Series[Any]", rows: list[int], secret: bool) -> Fault:
    message = f"{subject}: {rule.problem}"
    first = column.iloc[rows[0]] if rows else None
    if rows:
        message += f" in {len(rows)} of {len(column)} rows ({_share(len(rows), len(column))})"
        if rule.shows is not None and not secret:
            message += f": {listed(dict.fromkeys(map(rule.shows, column.iloc[rows])), rule.limit)}"
        message += f"; row positions, from 0: {listed(rows, ROWS_SHOWN)}"
    advice = rule.advice if isinstance(rule.advice, str) else rule.advice(first)
    return Fault(message, rule.file, advice=advice)


def _share(count: int, total: int) -> str:
    percent = 100 * count / total
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"
