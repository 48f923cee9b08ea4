"""Kibana's saved objects: whole, referring to what is there, and asking only for fields that the index has."""

import json
from itertools import combinations
from typing import Any

import pytest

from ml_microservice.features.spec import FeatureSpec
from ml_microservice.records.elasticsearch.index import feedback_fields, prediction_fields
from ml_microservice.records.elasticsearch.kibana import WIDTH, as_lines, saved_objects
from tests.records.elasticsearch.test_index import REGRESSION, SPEC, settings

NUMBERS = {"double", "long", "float"}
FITTING = {
    "date_histogram": {"date"},
    "histogram": NUMBERS,
    "percentiles": NUMBERS,
    "terms": {"keyword", "boolean", *NUMBERS},
}

each_task = pytest.mark.parametrize("spec", [SPEC, REGRESSION], ids=lambda spec: spec.task)


def objects(spec: FeatureSpec) -> list[dict[str, Any]]:
    return [json.loads(line) for line in as_lines(saved_objects(spec, settings(title="Houses"))).splitlines()]


@each_task
def test_every_reference_leads_to_an_object_that_stands_before_it(spec: FeatureSpec) -> None:
    known: set[tuple[str, str]] = set()
    for one in objects(spec):
        assert {(reference["type"], reference["id"]) for reference in one["references"]} <= known
        assert (one["type"], one["id"]) not in known
        known.add((one["type"], one["id"]))
        source = json.loads(one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}"))
        names = {reference["name"] for reference in one["references"]}
        assert {source["indexRefName"]} <= names if "indexRefName" in source else True
    assert {kind for kind, _ in known} == {"index-pattern", "search", "visualization", "dashboard"}


@each_task
def test_charts_and_searches_ask_for_fields_that_the_index_has(spec: FeatureSpec) -> None:
    fields = {"houses": prediction_fields(spec, hashed=False), "houses.feedback": feedback_fields(spec)}
    for one in objects(spec):
        if one["type"] == "search":
            view = fields[one["references"][0]["id"]]
            assert {*one["attributes"]["columns"], one["attributes"]["sort"][0][0]} <= set(view)
        if one["type"] == "visualization":
            state = json.loads(one["attributes"]["visState"])
            for aggregation in state["aggs"]:
                if aggregation["type"] != "count":
                    field = fields[one["references"][0]["id"]][aggregation["params"]["field"]]
                    assert field["type"] in FITTING[aggregation["type"]], one["id"]
            identities = [aggregation["id"] for aggregation in state["aggs"]]
            assert len(set(identities)) == len(identities)


@each_task
def test_the_dashboard_shows_every_chart_once_and_none_over_another(spec: FeatureSpec) -> None:
    made = objects(spec)
    dashboard = made[-1]
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    shown = {reference["name"]: reference["id"] for reference in dashboard["references"]}
    assert [f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels] == list(shown)
    assert {one["id"] for one in made if one["type"] == "visualization"} < set(shown.values())
    places = [panel["gridData"] for panel in panels]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in combinations(places, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_the_dashboard_of_a_classifier_has_classes_confidence_latency_and_versions() -> None:
    fields = {
        aggregation["params"].get("field")
        for one in objects(SPEC)
        if one["type"] == "visualization"
        for aggregation in json.loads(one["attributes"]["visState"])["aggs"]
    }
    assert fields >= {"@timestamp", "prediction", "confidence", "latency_ms", "model_version"}


def test_personal_data_is_in_no_view() -> None:
    assert "owner" not in as_lines(saved_objects(SPEC, settings()))
