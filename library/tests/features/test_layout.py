"""Training rows and requests reach the Preprocessor in one and the same form."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec

MAY, JUNE = datetime(2024, 5, 1, 12, 30, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=timezone(timedelta(hours=2)))
NAIVE = ["2024-05-01 12:30", "2024-05-31 22:00"]
WORDS: dict = {"type": "string"}
NUMBERS: dict = {"type": "float"}
LETTERS: dict = {"type": "category", "values": ["a", "b", "c"]}
GRADES: dict = {"type": "category", "values": [1, 2, 3]}

COMPLETE = {
    "float": (NUMBERS, [1.5, -2.0], pd.Series([1.5, -2.0])),
    "float from integers": (NUMBERS, [1.0, 2.0], pd.Series([1, 2])),
    "float from unsigned bytes": (NUMBERS, [1.0, 2.0], pd.Series([1, 2], dtype="uint8")),
    "float32": (NUMBERS, [0.1, 2.0], pd.Series([0.1, 2.0], dtype="float32")),
    "int": ({"type": "int"}, [1, 2], pd.Series([1, 2])),
    "int of 64 bits": ({"type": "int"}, [-(2**63), 2**63 - 1], pd.Series([-(2**63), 2**63 - 1])),
    "int32": ({"type": "int"}, [1, 2], pd.Series([1, 2], dtype="int32")),
    "int from whole floats": ({"type": "int"}, [1, 2], pd.Series([1.0, 2.0])),
    "bool": ({"type": "bool"}, [True, False], pd.Series([True, False])),
    "bool of objects": ({"type": "bool"}, [True, False], pd.Series([True, False], dtype=object)),
    "category, ordered": (LETTERS, ["b", "a"], pd.Series(pd.Categorical(["b", "a"], ["b", "a"], ordered=True))),
    "category of integers": (GRADES, [1, 3], pd.Series([1, 3])),
    "category of whole floats": (GRADES, [1, 3], pd.Series([1.0, 3.0])),
    "empty text": (WORDS, ["", " "], pd.Series(["", " "])),
    "datetime in nanoseconds": ({"type": "datetime"}, [MAY, JUNE], pd.to_datetime(pd.Series(NAIVE)).astype("M8[ns]")),
    "datetime in seconds": ({"type": "datetime"}, [MAY, JUNE], pd.to_datetime(pd.Series(NAIVE)).astype("M8[s]")),
}
GAPPY = {
    "float": (NUMBERS, [1.5, None], pd.Series([1.5, np.nan])),
    "float of objects": (NUMBERS, [1.5, None], pd.Series([1.5, None], dtype=object)),
    "float of objects with NA": (NUMBERS, [1.5, None], pd.Series([1.5, pd.NA], dtype=object)),
    "Float64": (NUMBERS, [1.5, None], pd.Series([1.5, None], dtype="Float64")),
    "Float32": (NUMBERS, [1.5, None], pd.Series([1.5, None], dtype="Float32")),
    "float from Int64": (NUMBERS, [1.0, None], pd.Series([1, None], dtype="Int64")),
    "int in floats": ({"type": "int"}, [1, None], pd.Series([1.0, np.nan])),
    "int, none missing in training": ({"type": "int"}, [1, 2], pd.Series([1, 2])),
    "Int64": ({"type": "int"}, [1, None], pd.Series([1, None], dtype="Int64")),
    "UInt8": ({"type": "int"}, [1, None], pd.Series([1, None], dtype="UInt8")),
    "bool of objects": ({"type": "bool"}, [True, None], pd.Series([True, None], dtype=object)),
    "bool of objects with NaN": ({"type": "bool"}, [True, None], pd.Series([True, np.nan], dtype=object)),
    "bool, none missing in training": ({"type": "bool"}, [True, False], pd.Series([True, False])),
    "boolean": ({"type": "bool"}, [True, None], pd.Series([True, None], dtype="boolean")),
    "category of objects": (LETTERS, ["a", None], pd.Series(["a", None], dtype=object)),
    "category of objects with NaN": (LETTERS, ["a", None], pd.Series(["a", np.nan], dtype=object)),
    "category of str": (LETTERS, ["a", None], pd.Series(["a", None], dtype="str")),
    "category of string": (LETTERS, ["a", None], pd.Series(["a", None], dtype="string")),
    "categorical": (LETTERS, ["a", None], pd.Series(["a", None], dtype="category")),
    "categorical of floats": (GRADES, [1, None], pd.Series([1.0, None], dtype="category")),
    "category of floats": (GRADES, [1, None], pd.Series([1.0, np.nan])),
    "category of Int64": (GRADES, [1, None], pd.Series([1, None], dtype="Int64")),
    "text": (WORDS, ["so", None], pd.Series(["so", None])),
    "text of objects": (WORDS, ["so", None], pd.Series(["so", None], dtype=object)),
    "text in a categorical": (WORDS, ["so", None], pd.Series(["so", None], dtype="category")),
    "datetime, naive": ({"type": "datetime"}, [MAY, None], pd.to_datetime(pd.Series([NAIVE[0], None]))),
    "datetime, aware": ({"type": "datetime"}, [MAY, None], pd.to_datetime(pd.Series([MAY, None]))),
    "datetime, elsewhere": ({"type": "datetime"}, [MAY, None], pd.Series([MAY, None]).dt.tz_convert("Europe/Oslo")),
    "datetime of objects": ({"type": "datetime"}, [MAY, JUNE, None], pd.Series([MAY, JUNE, None], dtype=object)),
    "vector of lists": ({"type": "vector", "length": 2}, [[1.0, 2.0], None], pd.Series([[1, 2], None])),
    "vector of arrays": ({"type": "vector", "length": 2}, [[1.0, 2.0], None], pd.Series([np.array([1, 2]), np.nan])),
}
CASES = [
    pytest.param({**feature, "optional": optional}, values, column, id=f"{name}{', optional' if optional else ''}")
    for optional, cases in ((False, COMPLETE), (True, GAPPY))
    for name, (feature, values, column) in cases.items()
]

ARROW = [
    (NUMBERS, [1.5, None], "double[pyarrow]"),
    ({"type": "int"}, [1, None], "int64[pyarrow]"),
    ({"type": "bool"}, [True, None], "bool[pyarrow]"),
    (LETTERS, ["a", None], "string[pyarrow]"),
    ({"type": "datetime"}, [MAY, None], "timestamp[us, UTC][pyarrow]"),
    ({"type": "datetime"}, [MAY.replace(tzinfo=None), None], "timestamp[us][pyarrow]"),
]


def a_spec(**features: dict) -> FeatureSpec:
    listed = [{"name": name, **feature} for name, feature in features.items()]
    return FeatureSpec.model_validate({"task": "regression", "target": "y", "features": listed})


@pytest.mark.parametrize(("feature", "values", "column"), CASES)
def test_a_request_equals_its_training_row(feature: dict, values: list, column: "pd.Series[Any]") -> None:
    frame, spec = pd.DataFrame({"x": column, "y": 1.0}), a_spec(x=feature)
    check_frame(frame, spec, id_name=None)

    layout = FrameLayout.of(frame, spec)
    stored = FrameLayout.from_json(json.loads(json.dumps(layout.as_json())))
    trained, served = layout.from_frame(frame), stored.from_columns({"x": values})

    pd.testing.assert_frame_equal(served, trained, check_exact=True)
    for ours, theirs in zip(served["x"], trained["x"], strict=True):
        assert type(ours) is type(theirs)  # None is not NaN, nor 1 True, though frames compare them as equal


@pytest.mark.parametrize(("feature", "values", "column"), CASES)
def test_columns_of_arrays_are_laid_out_as_lists_are(feature: dict, values: list, column: "pd.Series[Any]") -> None:
    arrow = pytest.importorskip("pyarrow")
    from ml_microservice.features.arrow_columns import check_column
    from ml_microservice.features.arrow_values import plain

    spec = a_spec(x=feature)
    layout = FrameLayout.of(pd.DataFrame({"x": column, "y": 1.0}), spec)
    array = arrow.array([value.astimezone(UTC) if isinstance(value, datetime) else value for value in values])
    taken = check_column(spec.features[0], plain(array)).column(np.ones(len(values), dtype=bool))
    ours, theirs = layout.from_columns({"x": taken}), layout.from_columns({"x": values})
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert [type(value) for value in ours["x"]] == [type(value) for value in theirs["x"]]


@pytest.mark.parametrize(("feature", "values", "dtype"), ARROW)
def test_a_request_equals_its_training_row_in_arrow(feature: dict, values: list, dtype: Any) -> None:
    pytest.importorskip("pyarrow")
    test_a_request_equals_its_training_row({**feature, "optional": True}, values, pd.Series(values).astype(dtype))


def test_a_vector_may_come_from_arrow() -> None:
    arrow = pytest.importorskip("pyarrow")
    values, dtype = [[1.0, 2.0], None], pd.ArrowDtype(arrow.list_(arrow.float64()))
    feature = {"type": "vector", "length": 2, "optional": True}
    test_a_request_equals_its_training_row(feature, values, pd.Series(values, dtype=dtype))


def test_a_feature_that_training_never_saw_missing_can_be_missing_in_a_request() -> None:
    frame = pd.DataFrame({"n": [1, 2], "b": [True, False], "c": pd.Categorical(["a", "b"]), "w": ["so", "as"], "y": 1})
    optional = {"optional": True}
    spec = a_spec(
        n={"type": "int", **optional},
        b={"type": "bool", **optional},
        c={**LETTERS, **optional},
        w={**WORDS, **optional},
    )
    served = FrameLayout.of(frame, spec).from_columns({"n": [None], "b": [None], "c": [None], "w": [None]})
    assert served.isna().all(axis=None)


def test_a_category_that_training_never_saw_is_not_taken_for_a_missing_value() -> None:
    frame = pd.DataFrame({"x": pd.Categorical(["b", "a"], categories=["b", "a"])})
    layout = FrameLayout.of(frame, a_spec(x=LETTERS))
    assert layout.from_columns({"x": ["c"]})["x"].tolist() == ["c"]
    assert layout.categories["x"] == ("b", "a", "c")


def test_columns_come_in_the_order_of_the_file_and_without_the_target() -> None:
    frame = pd.DataFrame({"y": [1.0], "b": [2.0], "id": [7], "a": [3.0]})
    layout = FrameLayout.of(frame, a_spec(a=NUMBERS, b=NUMBERS))
    assert list(layout.from_frame(frame)) == list(layout.from_columns({"b": [2.0], "a": [3.0]})) == ["a", "b"]


def test_a_training_frame_keeps_its_index_even_if_rows_share_a_label() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "w": ["x", "y", "z"]}, index=[5, 5, 2])
    trained = FrameLayout.of(frame, a_spec(a=NUMBERS, w=WORDS)).from_frame(frame)
    assert trained.index.tolist() == [5, 5, 2]
    assert trained["w"].tolist() == ["x", "y", "z"]


def test_laying_out_leaves_the_training_frame_as_it_was() -> None:
    frame = pd.DataFrame({"a": [1, 2], "v": [[1, 2], [3, 4]]})
    before = frame.copy(deep=True)
    trained = FrameLayout.of(frame, a_spec(a=NUMBERS, v={"type": "vector", "length": 2})).from_frame(frame)
    trained.loc[0, "a"] = 99.0
    trained["v"].iloc[0][0] = 99.0
    pd.testing.assert_frame_equal(frame, before)
