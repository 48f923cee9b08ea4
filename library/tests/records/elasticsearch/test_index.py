"""The index templates: a type for every feature, that what is recorded fits, and names that cannot collide."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from ml_microservice.features.spec import FEATURE_TYPES as TYPES_OF_FEATURES
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.records.documents import document
from ml_microservice.records.elasticsearch.index import index_objects
from ml_microservice.records.record import FeedbackRecord, PredictionRecord
from ml_microservice.settings import Settings

SPEC = FeatureSpec.model_validate(
    {
        "task": "classification",
        "target": "sold",
        "features": [
            {"name": "floor area", "type": "float"},
            {"name": "rooms", "type": "int"},
            {"name": "lift", "type": "bool"},
            {"name": "a.b", "type": "category", "values": ["red", "blue"]},
            {"name": "class", "type": "category", "values": [1, 2]},
            {"name": "remarks", "type": "string"},
            {"name": "built", "type": "datetime"},
            {"name": "view", "type": "vector", "length": 10_000},
            {"name": "owner", "type": "string", "pii": True},
            {"name": "a", "type": "float"},
        ],
    }
)
REGRESSION = FeatureSpec.model_validate({**SPEC.model_dump(), "task": "regression"})


def settings(**values: Any) -> Settings:
    hashed = {"pii": "hash", "pii_key": "secret"} if values.pop("hashed", False) else {}
    return Settings.model_validate({"name": "houses", "records": {**hashed, **values.pop("records", {})}, **values})


def fields(spec: FeatureSpec, name: str = "_index_template/houses", **values: Any) -> dict[str, Any]:
    mappings = index_objects(spec, settings(**values))[name]["template"]["mappings"]
    assert mappings["subobjects"] is False
    properties: dict[str, Any] = mappings["properties"]
    return properties


def test_every_type_of_feature_has_its_type_in_the_index() -> None:
    assert {feature.type for feature in SPEC.features} == set(TYPES_OF_FEATURES)
    expected = {
        "inputs.floor area": "double",
        "inputs.rooms": "long",
        "inputs.lift": "boolean",
        "inputs.a.b": "keyword",
        "inputs.class": "keyword",
        "inputs.remarks": "text",
        "inputs.built": "date",
        "inputs.view": "float",
        "inputs.a": "double",
    }
    made = fields(SPEC)
    assert {name: field["type"] for name, field in made.items() if name.startswith("inputs.")} == expected
    assert made["inputs.remarks"]["fields"]["keyword"]["type"] == "keyword"
    assert made["prediction"] == made["model_version"] == {"type": "keyword"}
    assert fields(REGRESSION)["prediction"] == {"type": "double"}
    assert fields(REGRESSION, "_index_template/houses.feedback")["label"] == {"type": "double"}


def test_personal_data_is_not_there_or_is_a_hash() -> None:
    assert "inputs.owner" not in fields(SPEC)
    assert fields(SPEC, hashed=True)["inputs.owner"] == {"type": "keyword"}


def test_every_field_of_a_document_has_a_type() -> None:
    prediction = PredictionRecord(
        prediction_id="p1",
        time="2026-11-21T06:00:01.250Z",
        route="predict",
        model_version="v",
        model_id="m",
        entity_id=7,
        inputs={feature.name: None for feature in SPEC.features if not feature.pii},
        prediction="yes",
        probabilities={"yes": 0.8, "no": 0.2},
        latency_ms=1.5,
    )
    template = index_objects(SPEC, settings())["_index_template/houses"]["template"]["mappings"]
    by_path = template["dynamic_templates"][0]["probabilities"]["path_match"]
    dynamic = {name for name in document(prediction) if fnmatchcase(name, by_path)}
    assert dynamic == {"probabilities.yes", "probabilities.no"}
    assert set(document(prediction)) - dynamic == set(template["properties"])
    feedback = FeedbackRecord("f1", "p1", "no", None, "survey", "2026-11-21T07:00:00.001Z")
    assert set(document(feedback)) == set(fields(SPEC, "_index_template/houses.feedback"))


def test_nothing_is_deleted_unless_asked_for_and_then_by_the_day_of_the_record() -> None:
    assert "delete" not in index_objects(SPEC, settings())["_ilm/policy/houses"]["policy"]["phases"]
    made = index_objects(SPEC, settings(records={"retention_days": 30}))
    assert made["_ilm/policy/houses"]["policy"]["phases"]["delete"]["min_age"] == "31d"
    for name in ("_index_template/houses", "_index_template/houses.feedback"):
        assert made[name]["template"]["settings"]["index.lifecycle.name"] == "houses"
        assert made[name]["template"]["settings"]["index.lifecycle.parse_origination_date"] is True


@pytest.mark.parametrize("other", ["houses-2", "houses-feedback", "houses-20", "house"])
def test_no_index_belongs_to_the_templates_of_two_projects_alike(other: str) -> None:
    """Elasticsearch takes the matching template of the highest priority, and refuses equal ones that overlap."""
    templates: dict[str, dict[str, Any]] = {}
    for name in ("houses", other):
        made = index_objects(SPEC, settings(name=name))
        templates |= {path: body for path, body in made.items() if path.startswith("_index_template/")}
    assert len(templates) == 4
    for base in ("houses", "houses.feedback", other, f"{other}.feedback"):
        index = f"{base}-2026.11.21"
        assert re.fullmatch(r".*-\d{4}\.\d\d\.\d\d", index), "the lifecycle reads the day from the name"
        matching = [
            (body["priority"], body["template"]["aliases"])
            for body in templates.values()
            if fnmatchcase(index, body["index_patterns"][0])
        ]
        priorities = [priority for priority, _ in matching]
        assert len(set(priorities)) == len(priorities)
        assert max(matching, key=lambda one: one[0])[1] == {base: {}}


def test_a_tag_of_its_own_names_everything() -> None:
    made = index_objects(SPEC, settings(fluentd={"tag": "estate"}))
    assert list(made) == ["_ilm/policy/estate", "_index_template/estate", "_index_template/estate.feedback"]


def test_the_same_project_gives_the_same_bytes() -> None:
    assert json.dumps(index_objects(SPEC, settings())) == json.dumps(index_objects(SPEC, settings()))
