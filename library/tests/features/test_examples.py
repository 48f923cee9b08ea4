"""Whatever `features.yaml` says, its examples go through everything else that is derived from it."""

import json
import random
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ml_microservice.features.examples import example_row, example_rows
from ml_microservice.features.features_file import check_features
from ml_microservice.features.fields import feature_fields
from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.infer import write_features
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.request import build_request_model
from ml_microservice.features.spec import EARLIEST, LATEST, FeatureSpec
from ml_microservice.yaml_file import parse_yaml
from tests.generating import many

AWKWARD = ["a b", "x[0]", "<y>", "class", "from", "model_config", "schema", "copy", "f0", "f1", "entity_id", "__init__"]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**53), 2**53)
MOMENTS = st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC))
NAMES = st.sampled_from(AWKWARD) | st.text(min_size=1, max_size=12)
WORDS = st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True)


@st.composite
def a_range(draw: st.DrawFn, values: st.SearchStrategy) -> dict:
    low, high = sorted([draw(values), draw(values)])
    keys = draw(st.sampled_from([(), ("min",), ("max",), ("min", "max")]))
    return {key: value for key, value in (("min", low), ("max", high)) if key in keys}


@st.composite
def a_feature(draw: st.DrawFn, name: str) -> dict:
    kind = draw(st.sampled_from(["float", "int", "bool", "category", "string", "datetime", "vector"]))
    feature = {"name": name, "type": kind, "optional": draw(st.booleans()), "pii": draw(st.booleans())}
    feature |= {"unit": draw(st.text(max_size=5)), "description": draw(st.text(max_size=30))}
    match kind:
        case "float":
            feature |= draw(a_range(NUMBERS))
        case "int":
            feature |= draw(a_range(INTEGERS))
        case "datetime":
            feature |= draw(a_range(MOMENTS))
        case "vector":
            feature |= {"length": draw(st.integers(1, 4)), **draw(a_range(NUMBERS))}
        case "string":
            feature["max_length"] = draw(st.integers(1, 40))
        case "category":
            feature["values"] = draw(WORDS | st.lists(INTEGERS, min_size=1, max_size=6, unique=True))
    return feature


@st.composite
def specs(draw: st.DrawFn) -> FeatureSpec:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    features = [draw(a_feature(name)) for name in names[1:]]
    bare = FeatureSpec.model_validate({"task": "classification", "target": names[0], "features": features})
    for key in ("default", "example"):
        row = next(example_rows(bare, 1, draw(st.randoms(use_true_random=False))))
        for feature in features:
            feature |= {key: row[feature["name"]]} if draw(st.booleans()) else {}
    return FeatureSpec.model_validate({**bare.model_dump(), "features": features})


@given(specs(), st.integers(0, 2**32))
def test_every_example_is_a_valid_request(spec: FeatureSpec, seed: int) -> None:
    model = build_request_model(spec, id_name=None)
    rows = [example_row(spec), *example_rows(spec, 4, random.Random(seed), missing=0.5)]
    for row in rows:
        model.model_validate_json(json.dumps(row, allow_nan=False))


@many(60)
@given(specs(), st.integers(0, 2**32))
def test_requests_reach_the_preprocessor_as_the_same_values_did_in_training(spec: FeatureSpec, seed: int) -> None:
    model = build_request_model(spec, id_name=None)
    rows = list(example_rows(spec, 8, random.Random(seed), missing=0.3))
    requests = [model.model_validate_json(json.dumps(row)) for row in rows]
    columns = {name: [getattr(row, field) for row in requests] for field, name in feature_fields(spec).items()}
    assume(all(any(value is not None for value in values) for values in columns.values()))
    frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    frame[spec.target] = ["a", "b"] * 4

    check_frame(frame, spec, id_name=None)
    layout = FrameLayout.of(frame, spec)
    pd.testing.assert_frame_equal(layout.from_columns(columns), layout.from_frame(frame))


@many(60)
@given(specs())
def test_a_written_file_says_the_same_when_it_is_read(spec: FeatureSpec) -> None:
    frame = pd.DataFrame(example_rows(spec, 3, random.Random(0))).astype(object)
    public = tuple(f.model_copy(update={"example": None}) if f.pii else f for f in spec.features)
    text = write_features(spec, frame.iloc[:0])
    assert check_features(parse_yaml(text, "features.yaml"), None).complete() == FeatureSpec(
        task=spec.task, target=spec.target, features=public
    )


def a_spec(*features: dict) -> FeatureSpec:
    return FeatureSpec.model_validate({"task": "regression", "target": "y", "features": features})


def test_the_example_row_takes_the_example_then_the_default_then_the_rules() -> None:
    spec = a_spec(
        {"name": "age", "type": "int", "default": 40, "example": 30},
        {"name": "income", "type": "float", "default": 1000.0, "min": 5},
        {"name": "share", "type": "float", "min": 0.2, "max": 0.4},
        {"name": "word", "type": "string", "max_length": 3},
        {"name": "when", "type": "datetime", "max": datetime(2020, 5, 1, tzinfo=UTC)},
        {"name": "embedding", "type": "vector", "length": 2, "min": 1},
    )
    row = example_row(spec)
    assert (row["age"], row["income"], row["when"]) == (30, 1000.0, "2020-05-01T00:00:00+00:00")
    assert row["share"] == pytest.approx(0.3)
    assert len(row["word"]) == 3
    assert row["embedding"] == [1.0, 1.0]


def test_the_same_seed_gives_the_same_rows() -> None:
    spec = a_spec({"name": "a", "type": "float"}, {"name": "b", "type": "string", "optional": True})
    first, second = (list(example_rows(spec, 20, random.Random(7), missing=0.4)) for _ in range(2))
    assert first == second
    assert any(row["b"] is None for row in first)
    assert all(row["a"] is not None for row in first)


def test_what_only_has_a_default_is_left_out_rather_than_null() -> None:
    spec = a_spec({"name": "a", "type": "float", "default": 2.0}, {"name": "b", "type": "int", "optional": True})
    assert list(example_rows(spec, 1, random.Random(0), missing=1.0)) == [{"b": None}]
