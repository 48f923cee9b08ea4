"""Rows that come as tensors mean the same whichever way they are read, and keep the rules of rows in JSON."""

import json
import math
import random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.features.columns import Columns, json_list
from ml_microservice.features.examples import example_rows
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.plain_row import plain_row
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.protocol import ParsedRequest, columns_of
from ml_microservice.inference.protocol_json import requests
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import Row, ServedModel
from ml_microservice.inference.tensors import NUMPY, Tensor
from tests.generating import many

BOUNDS = {"min": -5, "max": 9}
FEATURES: list[dict[str, Any]] = [
    {"name": "x", "type": "float"},
    {"name": "x bounded", "type": "float", "optional": True, **BOUNDS},
    {"name": "x[0]", "type": "float", "default": 1.5},
    {"name": "n", "type": "int", "optional": True},
    {"name": "n bounded", "type": "int", "default": 2, **BOUNDS},
    {"name": "b", "type": "bool"},
    {"name": "b/o", "type": "bool", "optional": True},
    {"name": "colour", "type": "category", "values": ["red", "white", "é"], "optional": True},
    {"name": "rank", "type": "category", "values": [1, 2, 5], "default": 5},
    {"name": "text", "type": "string", "max_length": 4, "optional": True},
    {"name": "moment", "type": "datetime", "min": "1950-01-01", "optional": True},
    {"name": "since", "type": "datetime", "default": "2020-01-01T00:00:00Z"},
    {"name": "v", "type": "vector", "length": 2, "optional": True, **BOUNDS},
    {"name": "w", "type": "vector", "length": 2, "default": [0, 1]},
]
"""Every kind of feature, with and without bounds, gaps and defaults."""


class Nothing:
    """A model that is never called."""

    def predict(self, columns: Columns) -> Predictions:
        """No model at all."""
        raise NotImplementedError


def reader_of(features: list[dict[str, Any]]) -> RowReader:
    """A reader of rows by these features, with an entity id."""
    spec = FeatureSpec.model_validate({"task": "regression", "target": "y", "features": features})
    return RowReader(ServedModel(cast(Any, None), ModelSchema(spec, {}, (), "names"), Nothing(), "id"))


numbers = st.floats(width=32) | st.integers(-12, 12) | st.sampled_from([2**53 + 1, 2.0**63, 2**63, 10**400, -0.0])
texts = st.sampled_from(["red", "é", "", "5", "1950-01-01T00:00:00Z", "2020-02-30T00:00:00Z"]) | st.text(max_size=6)
scalars = st.none() | st.booleans() | numbers | texts
junk = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=2), scalars, max_size=1)


@st.composite
def values_of(draw: st.DrawFn, feature: dict[str, Any], count: int) -> list[Any]:
    """Values of a feature, some of them not right."""
    spec = FeatureSpec.model_validate({"task": "regression", "target": "y", "features": [feature]})
    seed = random.Random(draw(st.integers(0, 99)))
    right = [json.loads(to_json(row.get(feature["name"]))) for row in example_rows(spec, count, seed, missing=0.2)]
    return [draw(junk) if draw(st.integers(0, 9)) == 0 else value for value in right]


@st.composite
def tensors(draw: st.DrawFn, count: int) -> tuple[list[dict[str, Any]], list[Any]]:
    """Features, and tensors of JSON that are mostly of their form."""
    features = draw(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=4, unique_by=lambda item: item["name"]))
    more = [{"name": name, "type": kind} for name, kind in (("id", "int"), ("colr", "string"))]
    sent = [*features, *(item for item in more if draw(st.integers(0, 5)) == 0)]
    made: list[Any] = []
    for feature in sent:
        if draw(st.integers(0, 9)) == 0:
            continue
        data: list[Any] = draw(values_of(feature, count))
        shape = [count]
        if feature["type"] == "vector":
            shape = [count, 2]
            if all(isinstance(value, list) for value in data) and draw(st.booleans()):
                data = [element for value in data for element in value]
        elif draw(st.booleans()):
            shape = [count, 1]
            data = [[value] for value in data] if draw(st.booleans()) else data
        usual = {"float": "FP64", "int": "INT64", "bool": "BOOL", "vector": "FP32"}.get(feature["type"], "BYTES")
        datatype = draw(st.sampled_from([*NUMPY, "BYTES", "FP65"])) if draw(st.integers(0, 9)) == 0 else usual
        tensor = {"name": feature["name"], "shape": shape, "datatype": datatype, "data": data}
        if draw(st.integers(0, 9)) == 0:
            tensor[draw(st.sampled_from(["shape", "data", "parameters", "name"]))] = draw(junk)
        made.append(tensor)
    return features, made


def written(value: Any) -> str:
    """A value with its type, so that 1, 1.0 and True differ, and -0.0 from 0.0."""
    return repr(value)


def outcome(read: Any, *arguments: Any) -> str:
    """What is read, or the document of the problem."""
    try:
        return written(read(*arguments))
    except Problem as problem:
        return written(problem.as_json())


@pytest.mark.slow
@many(600)
@given(tensors(1))
def test_a_plain_row_is_what_the_general_way_makes_of_its_tensors(case: tuple[list[dict[str, Any]], list[Any]]) -> None:
    reader = reader_of(case[0])
    try:
        request = requests().validate_json(to_json({"inputs": case[1]}, inf_nan_mode="constants"))
    except ValueError:
        return
    row = plain_row(request["inputs"], reader.features)
    if row is not None:
        general = columns_of(ParsedRequest(request["inputs"], (), None, {}, {}), reader.features)
        assert written(row) == written({name: json_list(values)[0] for name, values in general.items()})


def expected(reader: RowReader, columns: dict[str, list[Any]]) -> list[str]:
    """What the row model says of the rows of columns in JSON."""
    found = []
    for row in zip(*columns.values(), strict=True):
        given = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        read = reader.served.row_or_problem(to_json(given, inf_nan_mode="constants"))
        found.append(written((read.values, read.entity_id) if isinstance(read, Row) else read.as_json()))
    return found


def found_in(rows: Rows) -> list[str]:
    """The same of rows that were read by columns."""
    columns = {f"f{index}": iter(json_list(column)) for index, column in enumerate(rows.columns.values())}
    return [
        written(
            rows.problems[index].as_json()
            if index in rows.problems
            else ({field: next(column) for field, column in columns.items()}, entity_id)
        )
        for index, entity_id in enumerate(rows.entity_ids)
    ]


def check_columns(reader: RowReader, tensors: list[Tensor], binaries: list[bytes | None], meant: Any = None) -> None:
    """See that columns are accepted and refused as rows are, and that none that are right are read as rows."""
    columns = columns_of(ParsedRequest(tensors, binaries, None, {}, {}), reader.features)
    if meant is not None:
        assert written({name: json_list(values) for name, values in columns.items()}) == written(meant)
    wanted = expected(reader, {name: json_list(values) for name, values in columns.items()})
    with pytest.MonkeyPatch.context() as patch:
        if not any("pointer" in row for row in wanted):
            patch.setattr(reader, "records", pytest.fail)
        rows = reader.columns(columns)
    assert found_in(rows) == wanted


@pytest.mark.slow
@many(600)
@given(st.integers(0, 4).flatmap(tensors))
def test_columns_of_json_are_accepted_and_refused_as_rows_are_with_the_same_words(
    case: tuple[list[dict[str, Any]], list[Any]],
) -> None:
    reader = reader_of(case[0])
    try:
        request = requests().validate_json(to_json({"inputs": case[1]}, inf_nan_mode="constants"))
        columns_of(ParsedRequest(request["inputs"], (), None, {}, {}), reader.features)
    except (ValueError, Problem):
        return
    check_columns(reader, request["inputs"], [])


@st.composite
def binary_tensors(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Tensor], list[bytes | None], dict[str, Any]]:
    """Features, tensors of numbers in bytes that are mostly of their types, and what they mean as JSON."""
    features = draw(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=4, unique_by=lambda item: item["name"]))
    count = draw(st.integers(1, 4))
    tensors: list[Tensor] = []
    binaries: list[bytes | None] = []
    meant: dict[str, Any] = {}
    for feature in [*features, {"name": "id", "type": "int"}, {"name": "colr", "type": "float"}]:
        if draw(st.integers(0, 5)) < (5 if feature["name"] in ("id", "colr") else 1):
            continue
        usual = {"int": "INT64", "category": "INT64", "bool": "BOOL"}.get(feature["type"], "FP64")
        datatype = draw(st.sampled_from(list(NUMPY))) if draw(st.integers(0, 2)) == 0 else usual
        shape = [count, 2] if feature["type"] == "vector" else [count, 1] if draw(st.booleans()) else [count]
        array = draw(arrays_of(datatype, shape))
        tensors.append({"name": feature["name"], "shape": shape, "datatype": datatype})
        binaries.append(array.tobytes())
        values = array.tolist() if feature["type"] == "vector" else array.ravel().tolist()
        kind = "int" if feature["name"] == "colr" else feature["type"]
        meant[feature["name"]] = [as_meant(value, kind) for value in values]
    return features, tensors, binaries, meant


@st.composite
def arrays_of(draw: st.DrawFn, datatype: str, shape: list[int]) -> np.ndarray:
    """Numbers of a datatype: small ones, and the ends of what it holds."""
    layout = np.dtype(NUMPY[datatype])
    if layout.kind == "b":
        values: Any = st.booleans()
    elif layout.kind == "f":
        special = [math.nan, math.inf, -0.0, 2.0**53 if layout.itemsize == 8 else 2.0]
        values = st.integers(-6, 10).map(float) | st.sampled_from(special) | st.floats(-4, 8, width=16)
    else:
        ends = np.iinfo(layout)
        values = st.integers(max(-6, ends.min), 10) | st.sampled_from([ends.min, ends.max])
    size = math.prod(shape)
    return np.array(draw(st.lists(values, min_size=size, max_size=size)), layout).reshape(shape)


def as_meant(value: Any, kind: str) -> Any:
    """The JSON value that a number in a tensor stands for."""
    if kind == "vector":
        return [float(element) if type(element) is not bool else element for element in value]
    if isinstance(value, float):
        is_whole = kind in ("int", "category") and value.is_integer()
        return None if value != value else int(value) if is_whole else value
    return float(value) if kind == "float" and type(value) is int else value


@pytest.mark.slow
@many(600)
@given(binary_tensors())
def test_columns_of_bytes_are_accepted_and_refused_as_rows_are_with_the_same_words(
    case: tuple[list[dict[str, Any]], list[Tensor], list[bytes | None], dict[str, Any]],
) -> None:
    features, tensors, binaries, meant = case
    if tensors:
        check_columns(reader_of(features), tensors, binaries, meant)


@pytest.mark.parametrize(
    ("name", "datatype", "data", "meant"),
    [
        ("b", "BOOL", [1, 0, True, 2], [True, False, True, 2]),
        ("n", "BOOL", [1, None], [True, None]),
        ("n", "FP64", [5.0, math.nan, 5.5], [5, None, 5.5]),
        ("x", "FP64", [5.0, math.nan, 5], [5.0, None, 5]),
        ("id", "FP64", [5.0, math.nan], [5, None]),
        ("text", "BYTES", ["5.0", None], ["5.0", None]),
    ],
)
def test_what_elements_of_tensors_in_json_mean(name: str, datatype: str, data: list[Any], meant: list[Any]) -> None:
    features = reader_of(FEATURES).features
    tensor: Tensor = {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}
    columns = columns_of(ParsedRequest([tensor], (), None, {}, {}), features)
    assert written(columns[name]) == written(meant)
    rows = [plain_row([{**tensor, "shape": [1], "data": [value]}], features) for value in data]
    assert written(rows) == written([{name: value} for value in meant])


@pytest.mark.parametrize("shape", [[0, 10**30], [10**30, 0], [0, 2**62], [0, 2]])
@pytest.mark.parametrize("binary", [b"", None])
def test_a_shape_without_values_is_no_more_than_no_rows(shape: list[int], binary: bytes | None) -> None:
    tensor: Tensor = {"name": "v", "shape": shape, "datatype": "FP64", "data": []}
    columns = columns_of(ParsedRequest([tensor], [binary], None, {}, {}), reader_of(FEATURES[-2:]).features)
    assert {name: json_list(values) for name, values in columns.items()} == {"v": []}


@many(600)
@given(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=4, unique_by=lambda item: item["name"]), st.data())
def test_values_of_python_keep_the_rules_of_json(features: list[dict[str, Any]], data: st.DataObject) -> None:
    reader = reader_of(features)
    record = {feature["name"]: data.draw(values_of(feature, 1))[0] for feature in features}
    if data.draw(st.integers(0, 3)) == 0:
        record[data.draw(st.sampled_from(["id", "colr"]))] = data.draw(junk)
    given = {name: value for name, value in record.items() if value is not None}
    body = to_json(given, inf_nan_mode="constants")
    assert outcome(reader.record, record) == outcome(reader.served.row, body)
