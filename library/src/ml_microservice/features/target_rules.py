"""The rules that the target's column has to keep."""

from collections import Counter
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.frame_rules import Rule
from ml_microservice.features.frame_values import is_boolean, is_infinite, is_number, is_text, is_whole
from ml_microservice.features.spec import Task


def target_rules(task: Task) -> list[Rule]:
    """The rules of the target's column."""
    advice = "drop these rows in DataLoader: there is nothing to learn from them"
    present = Rule(lambda c: c.notna(), "missing", advice, shows=None, sees_missing=True)
    return [present, *(_CLASS_RULES if task == "classification" else _QUANTITY_RULES)]


def _is_label(column: "pd.Series[Any]") -> "pd.Series[bool]":
    return is_text(column) | is_boolean(column) | (is_whole(column) & ~is_infinite(column))


def _labels(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The values that can be labels, as plain objects."""
    return column[_is_label(column)].astype(object)


def _no_label(value: Any) -> str:
    match value:
        case Real():
            return f"a number to be estimated needs 'task: regression' in {FEATURES_FILE}"
        case list() | tuple() | np.ndarray():
            return "several outputs are not supported: let DataLoader return one label per row"
        case _:
            return "convert the target to text in DataLoader"


def _not_numeric(value: Any) -> str:
    match value:
        case str() | bool() | np.bool_():
            return (
                f"labels need 'task: classification' in {FEATURES_FILE}; numbers in text, pd.to_numeric in DataLoader"
            )
        case list() | tuple() | np.ndarray():
            return "several outputs are not supported: train one service per output"
        case _:
            return "let DataLoader return it as numbers"


def _is_one_kind(column: "pd.Series[Any]") -> bool:
    kinds = {str if isinstance(v, str) else bool if isinstance(v, bool | np.bool_) else float for v in _labels(column)}
    return len(kinds) <= 1


def _has_several_classes(column: "pd.Series[Any]") -> bool:
    return not _is_label(column).all() or _labels(column).nunique() != 1


def _shares_its_class(column: "pd.Series[Any]") -> "pd.Series[bool] | bool":
    if not _is_label(column).all():
        return True
    lonely = {label for label, count in Counter(_labels(column)).items() if count < 2}
    return ~_labels(column).isin(lonely)


_CLASS_RULES = [
    Rule(_is_label, "not a class label (text, whole number or boolean)", _no_label, FEATURES_FILE),
    Rule(_is_one_kind, "mixes text, numbers and booleans", "convert it in DataLoader: .astype('str')"),
    Rule(_has_several_classes, "has only one class", "let DataLoader return rows of at least two classes"),
    Rule(
        _shares_its_class,
        "the only row of its class (a split needs two)",
        f"merge or drop these classes in DataLoader; a quantity needs 'task: regression' in {FEATURES_FILE}",
        limit=12,
    ),
]
_QUANTITY_RULES = [
    Rule(is_number, "not a number", _not_numeric, FEATURES_FILE),
    Rule(lambda c: ~is_infinite(c), "infinite", "drop these rows in DataLoader", shows=None),
]
