"""The training frame is checked against `features.yaml`; every contradiction is reported with rows and remedy."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_microservice.errors import Fault, FrameError
from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.spec import FeatureSpec

FEATURES, LOADER = "src/model/features.yaml", "src/model/data_loader.py"
N = 20


def a_spec(*features: dict, task: str = "regression") -> FeatureSpec:
    return FeatureSpec.model_validate({"task": task, "target": "y", "features": features})


def faults(frame: Any, spec: FeatureSpec, id_name: str | None = None) -> tuple[Fault, ...]:
    try:
        check_frame(frame, spec, id_name)
    except FrameError as refused:
        return refused.faults
    return ()


def with_values(good: Any, *bad: Any) -> pd.DataFrame:
    """A frame of N rows whose column `x` has the given bad values in rows 3, 4, ..., under an index of its own."""
    values = [good] * N
    values[3 : 3 + len(bad)] = bad
    return pd.DataFrame({"x": pd.Series(values, dtype=object), "y": 1.5}).set_index(pd.Index(range(100, 100 + N)))


@pytest.mark.parametrize(
    ("feature", "good", "bad", "file", "words"),
    [
        ({"type": "float"}, 1.0, [None], LOADER, ["missing in 1 of 20 rows (5.0 %)", "'optional: true'"]),
        ({"type": "float", "default": 1}, 1.0, [np.nan], LOADER, ["missing", "not training data"]),
        ({"type": "float"}, 1.0, ["n/a", "?"], LOADER, ["not a number in 2 of 20", "'n/a', '?'", "pd.to_numeric"]),
        ({"type": "float"}, 1.0, [True], LOADER, ["not a number", "'type: bool'"]),
        ({"type": "float"}, 1.0, [np.bool_(True)], LOADER, ["not a number", "'type: bool'"]),
        ({"type": "float"}, 1.0, [[1.0]], LOADER, ["not a number", "'type: vector'"]),
        ({"type": "float"}, 1.0, [np.inf, -np.inf], LOADER, ["infinite in 2 of 20 rows (10.0 %)"]),
        ({"type": "float"}, 1.0, [10**400], LOADER, ["infinite in 1 of 20 rows"]),
        ({"type": "float", "min": 0}, 1.0, [-1.5], FEATURES, ["below min 0 in 1", "-1.5"]),
        ({"type": "float", "max": 2.5}, 1.0, [3, 4, 5, 6], FEATURES, ["above max 2.5 in 4", ": 3, 4, 5 and 1 more"]),
        ({"type": "int"}, 1, [1.5], FEATURES, ["not a whole number", "1.5", "'type: float'"]),
        ({"type": "int"}, 1, ["1"], LOADER, ["not a number", "'1'"]),
        ({"type": "int"}, 1, [2**63], FEATURES, ["beyond 64 bits"]),
        ({"type": "int"}, 1.0, [1e30], FEATURES, ["beyond 64 bits"]),
        ({"type": "int", "min": 1}, 1, [0], FEATURES, ["below min 1", ": 0;"]),
        ({"type": "bool"}, True, ["yes", "no"], LOADER, ["neither True nor False", ".map({'yes': True, 'no': False})"]),
        ({"type": "bool"}, True, [1], LOADER, ["neither True nor False", ".astype('boolean')"]),
        ({"type": "category", "values": ["a"]}, "a", ["b", "A", "b"], FEATURES, ["`values` lacks in 3", ": 'b', 'A';"]),
        ({"type": "category", "values": ["1"]}, "1", [1], LOADER, ["not text, unlike `values`", ".astype('str')"]),
        ({"type": "category", "values": [1]}, 1.0, ["1"], LOADER, ["not a whole number, unlike `values`"]),
        ({"type": "category", "values": [1]}, 1.0, [2.0], FEATURES, ["`values` lacks", "2.0"]),
        ({"type": "string"}, "a", [7], LOADER, ["not text", "7"]),
        ({"type": "string", "max_length": 3}, "a", ["four"], FEATURES, ["longer than max_length 3", "4 characters"]),
        ({"type": "string", "max_length": 3}, "a", ["\ud800 is"], LOADER, ["a lone surrogate", "'\\ud800 is'"]),
        ({"type": "datetime"}, datetime(2024, 5, 1), ["2024-05-01"], LOADER, ["not a datetime", "pd.to_datetime("]),
        ({"type": "datetime"}, datetime(2024, 5, 1), [date(2024, 5, 1)], LOADER, ["not a datetime", "pd.to_datetime("]),
        ({"type": "datetime", "min": "2024-01-01"}, datetime(2024, 5, 1), [datetime(2023, 5, 1)], FEATURES, ["min 20"]),
        ({"type": "vector", "length": 2}, [1, 2], [[1], [1, 2, 3]], FEATURES, ["another length than 2", "1 elements"]),
        ({"type": "vector", "length": 2}, [1, 2], [["a", "b"]], LOADER, ["not a vector of numbers", "['a', 'b']"]),
        ({"type": "vector", "length": 2}, [1, 2], [[1, [2]]], LOADER, ["not a vector of numbers"]),
        ({"type": "vector", "length": 2}, [1, 2], [np.ones((2, 1))], LOADER, ["not a vector of numbers"]),
        ({"type": "vector", "length": 2}, [1, 2], [[1, np.nan]], LOADER, ["NaN or infinity"]),
        ({"type": "vector", "length": 2, "max": 2}, [1, 2], [[1, 3]], FEATURES, ["above max 2", "[1, 3]"]),
    ],
)  # fmt: skip
def test_a_contradiction_names_rule_rows_and_remedy(
    feature: dict, good: Any, bad: list, file: str, words: list[str]
) -> None:
    (fault,) = faults(with_values(good, *bad), a_spec({"name": "x", **feature}))
    assert fault.file == file
    assert f"feature 'x' ({feature['type']})" in fault.message
    assert f"row positions, from 0: {', '.join(map(str, range(3, 3 + len(bad))))}" in fault.message
    assert [word for word in words if word not in str(fault)] == []


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.Series(["1", "2"] * 10), "not a number in 20 of 20"),
        (pd.Series([True, False] * 10), "not a number in 20 of 20"),
        (pd.Series([True, None] * 10, dtype="boolean"), "not a number in 10 of 20"),
        (pd.Series([1 + 2j] * N), "not a number in 20 of 20"),
        (pd.Series(pd.date_range("2024-05-01", periods=N)), "not a number in 20 of 20"),
        (pd.Series(["1", "2"] * 10, dtype="category"), "not a number in 20 of 20"),
        (pd.Series([2**64 - 1] * N, dtype="uint64"), "beyond 64 bits in 20 of 20"),
        (pd.Series([np.inf, 1.0] * 10, dtype="Float64"), "infinite in 10 of 20"),
    ],
)
def test_a_whole_column_of_another_dtype_is_refused(column: "pd.Series[Any]", words: str) -> None:
    told = faults(pd.DataFrame({"x": column, "y": 1.5}), a_spec({"name": "x", "type": "int", "optional": True}))
    assert [words in fault.message for fault in told] == [True]


@pytest.mark.parametrize(
    ("feature", "column"),
    [
        ({"type": "float"}, pd.Series([Decimal("1.5"), 2] * 10, dtype=object)),
        ({"type": "float"}, pd.Series([1, 2] * 10, dtype="category")),
        ({"type": "int", "max": 2**63 - 1}, pd.Series([2**63 - 1] * N)),
        ({"type": "int", "optional": True}, pd.Series([1.0, np.nan] * 10)),
        ({"type": "bool", "optional": True}, pd.Series([True, None] * 10, dtype=object)),
        ({"type": "category", "values": ["a", "b"]}, pd.Series(["a", "a"] * 10, dtype="category")),
        ({"type": "category", "values": [1, 2], "optional": True}, pd.Series([1, None] * 10, dtype="Int64")),
        ({"type": "datetime", "max": "2024-05-01T12:00"}, pd.Series([pd.Timestamp("2024-05-01T14:00+02:00")] * N)),
        ({"type": "vector", "length": 2}, pd.Series([np.array([1, 2]), (1.0, 2.0)] * 10)),
    ],
)
def test_a_column_is_judged_by_what_it_holds(feature: dict, column: "pd.Series[Any]") -> None:
    assert faults(pd.DataFrame({"x": column, "y": 1.5}), a_spec({"name": "x", **feature})) == ()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    frame = pd.DataFrame(
        {"a": ["x", -1.0, np.inf, None], "b": [1, 2, 3, 4], "bill_lenght": 1.0, "y": [1, 2, None, "z"]}
    )
    spec = a_spec(
        {"name": "a", "type": "float", "min": 0},
        {"name": "bill_length", "type": "float"},
        {"name": "b", "type": "category", "values": ["1"]},
    )
    told = [fault.message.split(" in ")[0] for fault in faults(frame, spec)]
    assert told == [
        "feature 'bill_length' is not a column of the training frame",
        "feature 'a' (float): missing",
        "feature 'a' (float): not a number",
        "feature 'a' (float): infinite",
        "feature 'a' (float): below min 0",
        "feature 'b' (category): not text, unlike `values`,",
        "target 'y': missing",
        "target 'y': not a number",
    ]


@pytest.mark.parametrize(
    ("columns", "file", "words"),
    [
        (["bill_lenght", "y"], FEATURES, "did you mean 'bill_lenght'?"),
        (["mass", "y"], FEATURES, "the frame has mass, y"),
        ([7, "y"], FEATURES, "the frame has 7, y"),
    ],
)
def test_a_missing_column_is_told_with_what_there_is(columns: list, file: str, words: str) -> None:
    frame = pd.DataFrame([[1.5, 2.5]] * 3, columns=columns)
    (fault,) = faults(frame, a_spec({"name": "bill_length", "type": "float"}))
    assert fault.file == file
    assert words in str(fault)


def test_a_column_called_by_a_number_is_no_text() -> None:
    (fault,) = faults(pd.DataFrame({7: [1.0], "y": [1.0]}), a_spec({"name": "7", "type": "float"}))
    assert "frame.rename(columns=str)" in str(fault)


def test_a_missing_target_is_told() -> None:
    (fault,) = faults(pd.DataFrame({"x": [1.0], "Y": [1.0]}), a_spec({"name": "x", "type": "float"}))
    assert "target 'y' is not a column" in fault.message


def test_a_column_that_stands_twice_is_told_and_its_first_is_checked() -> None:
    frame = pd.DataFrame([["a", 1.0, 2.0], ["b", 1.0, 2.0]], columns=["x", "x", "y"])
    twice, text = faults(frame, a_spec({"name": "x", "type": "float"}))
    assert "column 'x' stands 2 times" in twice.message
    assert "not a number" in text.message


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ([{"x": 1}], "returned list, not a pandas.DataFrame"),
        (None, "returned NoneType"),
        (pd.DataFrame({"x": [], "y": []}), "without rows"),
        (pd.DataFrame(index=[1, 2]), "without columns"),
    ],
)
def test_what_is_no_frame_is_told_alone(frame: Any, words: str) -> None:
    (fault,) = faults(frame, a_spec({"name": "x", "type": "float"}))
    assert fault.file == LOADER
    assert words in fault.message


def test_an_optional_feature_needs_at_least_one_value() -> None:
    frame = pd.DataFrame({"x": [None] * 3, "y": [1.0, 2.0, 3.0]})
    (fault,) = faults(frame, a_spec({"name": "x", "type": "category", "values": ["a"], "optional": True}))
    assert "without a single value" in fault.message


def test_the_entity_id_is_never_a_feature() -> None:
    (fault,) = faults(pd.DataFrame({"id": [1.0], "y": [1.0]}), a_spec({"name": "id", "type": "float"}), id_name="id")
    assert "the entity id 'id' is a feature" in fault.message


@pytest.mark.parametrize(
    "feature",
    [
        {"type": "float", "max": 1},
        {"type": "int", "optional": True},
        {"type": "bool"},
        {"type": "category", "values": ["public"]},
        {"type": "string", "max_length": 2},
        {"type": "datetime"},
        {"type": "vector", "length": 2},
    ],
)
@pytest.mark.parametrize("secret", ["Jane Doe", 4711.25, ["Jane Doe"]])
def test_personal_data_is_never_repeated(feature: dict, secret: Any) -> None:
    told = faults(with_values(secret), a_spec({"name": "x", "pii": True, **feature}))
    assert told
    assert not any(word in str(fault) for fault in told for word in ("Jane", "4711"))


def test_long_values_are_cut() -> None:
    (fault,) = faults(with_values(1.0, "x" * 5000), a_spec({"name": "x", "type": "float"}))
    assert len(str(fault)) < 400


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (["a", "b", None, "a", "b"], "missing in 1 of 5"),
        ([0.5, 1.25, 2.0, 0.5, 1.25], "task: regression"),
        ([[1], [2], [1], [2], [1]], "several outputs are not supported"),
        (["a"] * 5, "has only one class"),
        (["a", "a", "b", "b", "c"], "the only row of its class (a split needs two) in 1 of 5 rows (20.0 %): 'c'"),
        ([1, 2, 3, 4, 5], "task: regression"),
        (["a", "a", 1, 1, 1], "mixes text, numbers and booleans"),
    ],
)
def test_classes_that_cannot_be_learnt_are_refused(target: list, words: str) -> None:
    frame = pd.DataFrame({"x": 1.0, "y": pd.Series(target)})
    told = faults(frame, a_spec({"name": "x", "type": "float"}, task="classification"))
    assert [words in str(fault) for fault in told] == [True]


@pytest.mark.parametrize(
    "target",
    [
        pd.Series(["a", "b"] * 2),
        pd.Series(["a", "b"] * 2, dtype="category"),
        pd.Series([0, 1] * 2),
        pd.Series([0.0, 1.0] * 2),
        pd.Series([True, False] * 2),
        pd.Series([True, False] * 2, dtype="boolean"),
        pd.Series(["a", "b"] * 2, dtype="string"),
    ],
)
def test_classes_are_text_whole_numbers_or_booleans(target: "pd.Series[Any]") -> None:
    assert (
        faults(pd.DataFrame({"x": 1.0, "y": target}), a_spec({"name": "x", "type": "float"}, task="classification"))
        == ()
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (["low", "high", "low"], "task: classification"),
        ([True, False, True], "task: classification"),
        ([[1, 2], [3, 4], [5, 6]], "several outputs are not supported"),
        ([1.0, np.inf, 2.0], "infinite"),
        ([1.0, np.nan, 2.0], "missing"),
        (pd.to_datetime(["2024-05-01"] * 3), "not a number"),
    ],
)
def test_a_quantity_that_cannot_be_estimated_is_refused(target: Any, words: str) -> None:
    (fault,) = faults(pd.DataFrame({"x": 1.0, "y": pd.Series(target)}), a_spec({"name": "x", "type": "float"}))
    assert words in str(fault)
