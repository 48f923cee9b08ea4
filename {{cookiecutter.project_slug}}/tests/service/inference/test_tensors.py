"""Rows that come as tensors mean the same whichever way they are read, and keep the rules of rows in JSON."""

import json
import random
from typing import Any, cast

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic_core import to_json

from service.artefact.schema import ModelSchema
from service.features.columns import Columns
from service.features.examples import example_rows
from service.features.spec import FeatureSpec
from service.inference.plain_row import plain_row
from service.inference.predictor import Predictions
from service.inference.problems import Problem
from service.inference.protocol import Inference, _records
from service.inference.protocol_json import requests
from service.inference.rows import RowReader
from service.inference.served_model import ServedModel
from service.inference.tensors import NUMPY

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


many = examples(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(tensors(1))
def test_a_plain_row_is_what_the_general_way_makes_of_its_tensors(case: tuple[list[dict[str, Any]], list[Any]]) -> None:
    reader = reader_of(case[0])
    try:
        request = requests().validate_json(to_json({"inputs": case[1]}, inf_nan_mode="constants"))
    except ValueError:
        return
    row = plain_row(request["inputs"], reader.features)
    if row is not None:
        general = _records(Inference(request["inputs"], (), None, {}, {}), reader)
        assert written([row]) == written(general)


@many
@given(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=4, unique_by=lambda item: item["name"]), st.data())
def test_values_of_python_keep_the_rules_of_json(features: list[dict[str, Any]], data: st.DataObject) -> None:
    reader = reader_of(features)
    record = {feature["name"]: data.draw(values_of(feature, 1))[0] for feature in features}
    if data.draw(st.integers(0, 3)) == 0:
        record[data.draw(st.sampled_from(["id", "colr"]))] = data.draw(junk)
    given = {name: value for name, value in record.items() if value is not None}
    body = to_json(given, inf_nan_mode="constants")
    assert outcome(reader.record, record) == outcome(reader.served.row, body)
