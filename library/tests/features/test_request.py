"""A request is taken at its word: what is not exactly what `features.yaml` says is refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ml_microservice.features.request import build_request_model
from ml_microservice.features.spec import FeatureSpec, as_utc

AWKWARD_NAMES = [
    "a b", "x[0]", "price ($)", "<y>", "größe", "class", "None", "model_config", "model_fields", "schema", "json",
    "copy", "dict", "validate", "self", "__init__", "_private", "f1", "f0", "entity_id", "registered.at",
]  # fmt: skip


def a_model(*features: dict, id_name: str | None = None) -> type[BaseModel]:
    data = {"task": "regression", "target": "y", "features": features}
    return build_request_model(FeatureSpec.model_validate(data), id_name)


def value(feature: dict, text: str) -> Any:
    """What the JSON text of a single value becomes."""
    return a_model({"name": "x", **feature}).model_validate_json(f'{{"x": {text}}}').f0  # type: ignore[attr-defined]


FLOAT, INT, BOOL, STRING, MOMENT = ({"type": kind} for kind in ("float", "int", "bool", "string", "datetime"))
WORDS = {"type": "category", "values": ["1", "a"]}
GRADES = {"type": "category", "values": [0, 1]}
VECTOR = {"type": "vector", "length": 2, "min": 0}


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        *[(FLOAT, text) for text in ('"5"', "true", "null", "NaN", "Infinity", "-Infinity", "1e999", "[1]", "{}")],
        *[({**FLOAT, "min": 0, "max": 1}, text) for text in ("-0.1", "1.0000001")],
        *[(INT, text) for text in ('"5"', "true", "5.5", "1e999", "9223372036854775808", "-9223372036854775809")],
        *[({**INT, "min": 3, "max": 4}, text) for text in ("2", "5")],
        *[(BOOL, text) for text in ('"true"', "0", "1", "1.0", "null")],
        *[(WORDS, text) for text in ("1", "true", '"A"', '"a "', '""')],
        *[(GRADES, text) for text in ('"1"', "true", "false", "1.0", "2")],
        *[({**STRING, "max_length": 3}, text) for text in ("5", '"four"', "null", r'"\ud800"')],
        *[(MOMENT, text) for text in ("0", '"1714566600"', '"2024-05-01"', '"2024-02-30T00:00"', '"now"', '"P1D"')],
        *[({**MOMENT, "min": "2024-05-01"}, text) for text in ('"2024-04-30T23:59"', '"2024-05-01T01:00+02:00"')],
        *[(MOMENT, text) for text in ('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:00:00-14:00"', "null")],
        *[(VECTOR, text) for text in ("[1]", "[1, 2, 3]", '[1, "2"]', "[1, null]", "[1, NaN]", "[1, -1]", "1")],
    ],
)  # fmt: skip
def test_what_only_resembles_a_value_is_refused(feature: dict, text: str) -> None:
    with pytest.raises(ValidationError):
        value(feature, text)


@pytest.mark.parametrize(
    ("feature", "text", "expected"),
    [
        (FLOAT, "5", 5.0),
        ({**FLOAT, "min": 0, "max": 1}, "1", 1.0),
        (INT, "-9223372036854775808", -(2**63)),
        (BOOL, "false", False),
        (WORDS, '"1"', "1"),
        (GRADES, "0", 0),
        ({**STRING, "max_length": 3}, '"äöü"', "äöü"),
        (VECTOR, "[0, 1.5]", [0.0, 1.5]),
        (MOMENT, '"2024-05-01T12:30"', datetime(2024, 5, 1, 12, 30)),
        (MOMENT, '"2024-05-01 12:30:00.25Z"', datetime(2024, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)),
        ({**MOMENT, "min": "2024-05-01"}, '"2024-05-01T02:00+02:00"', datetime(2024, 5, 1, tzinfo=UTC)),
        ({**FLOAT, "optional": True}, "null", None),
    ],
)
def test_what_is_a_value_is_taken(feature: dict, text: str, expected: Any) -> None:
    found = value(feature, text)
    assert found == expected
    assert type(found) is type(expected)


@given(st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([Zz]|[+-][0-9]{2}:?[0-9]{2})?\Z"))
def test_every_moment_that_is_taken_has_its_equal_in_utc(text: str) -> None:
    try:
        moment = value(MOMENT, json.dumps(text))
    except ValidationError:
        return
    assert as_utc(moment).tzinfo is UTC


def test_a_feature_may_have_any_name() -> None:
    features = [{"name": name, "type": "int", "example": index} for index, name in enumerate(AWKWARD_NAMES)]
    model = a_model(*features, id_name="id")
    row = {name: index for index, name in enumerate(AWKWARD_NAMES)} | {"id": "penguin-7"}
    request = model.model_validate_json(json.dumps(row))
    assert [getattr(request, f"f{index}") for index in range(len(AWKWARD_NAMES))] == list(range(len(AWKWARD_NAMES)))
    assert request.entity_id == "penguin-7"  # type: ignore[attr-defined]
    assert list(model.model_json_schema()["properties"]) == [*AWKWARD_NAMES, "id"]


@pytest.mark.parametrize("key", ["X", "f0", "entity_id", "y", "x "])
def test_a_key_that_is_no_feature_is_refused_by_name(key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        a_model({"name": "x", "type": "int"}, id_name="id").model_validate_json(json.dumps({"x": 1, key: 1}))
    assert [(error["type"], error["loc"]) for error in refused.value.errors()] == [("extra_forbidden", (key,))]


def test_all_mistakes_of_a_request_are_told_at_once_under_the_names_of_the_features() -> None:
    model = a_model({"name": "a b", "type": "int"}, {"name": "c", **WORDS}, {"name": "d", "type": "bool"})
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json('{"a b": "5", "c": "z", "e": 1}')
    assert {error["loc"][0] for error in refused.value.errors()} == {"a b", "c", "d", "e"}


def test_only_optional_and_defaulted_features_may_be_left_out() -> None:
    model = a_model(
        {"name": "needed", "type": "int"},
        {"name": "optional", "type": "int", "optional": True},
        {"name": "defaulted", "type": "int", "default": 3},
        {"name": "vector", "type": "vector", "length": 2, "default": [1, 2]},
        {"name": "moment", "type": "datetime", "default": "2024-05-01T00:00:00Z"},
    )
    row: Any = model.model_validate_json('{"needed": 1}')
    assert (row.f0, row.f1, row.f2, row.f3, row.f4) == (1, None, 3, [1.0, 2.0], datetime(2024, 5, 1, tzinfo=UTC))
    for text in ("{}", '{"needed": 1, "defaulted": null}', '{"needed": null}'):
        with pytest.raises(ValidationError):
            model.model_validate_json(text)


@pytest.mark.parametrize("text", ["7", '"seven"', "null"])
def test_an_entity_id_is_text_or_a_whole_number(text: str) -> None:
    row: Any = a_model({"name": "x", "type": "int"}, id_name="id").model_validate_json(f'{{"x": 1, "id": {text}}}')
    assert row.entity_id == json.loads(text)


@pytest.mark.parametrize("text", ["7.5", "true", "[7]", f'"{"7" * 257}"', "9223372036854775808"])
def test_anything_else_is_no_entity_id(text: str) -> None:
    with pytest.raises(ValidationError):
        a_model({"name": "x", "type": "int"}, id_name="id").model_validate_json(f'{{"x": 1, "id": {text}}}')


def test_the_documentation_carries_the_words_and_rules_of_the_file() -> None:
    mass = {"name": "mass", **FLOAT, "unit": "g", "description": "Body mass", "min": 2, "max": 9, "example": 4.5}
    model = a_model(mass, {"name": "sex", **WORDS, "optional": True, "pii": True}, {"name": "at", **MOMENT})
    schema = model.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["mass", "at"]
    documented = schema["properties"]["mass"]
    assert documented.items() >= {"type": "number", "minimum": 2.0, "maximum": 9.0, "unit": "g"}.items()
    assert (documented["description"], documented["examples"]) == ("Body mass [g]", [4.5])
    assert {"enum": ["1", "a"], "type": "string"} in schema["properties"]["sex"]["anyOf"]
    assert schema["properties"]["sex"]["x-pii"] is True
    assert schema["properties"]["at"]["format"] == "date-time"
