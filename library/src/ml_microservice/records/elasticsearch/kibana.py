"""Kibana's saved objects for records: data views, searches and a dashboard, in the NDJSON format that it imports.

The ids are derived from the project's name, so that importing again replaces the objects. The formats are those of
Kibana 8.8, which later versions convert.
"""

import json
from collections.abc import Sequence
from typing import Any

from ml_microservice.features.spec import FeatureSpec
from ml_microservice.records.documents import INPUT, TIME_KEY
from ml_microservice.records.elasticsearch.index import feedback_base
from ml_microservice.settings import Settings

FORMATS = {"index-pattern": "8.0.0", "search": "8.0.0", "visualization": "8.5.0", "dashboard": "8.7.0"}
CORE_FORMAT = "8.8.0"
SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
"""Name of the reference from a search or a visualization to its data view."""
WIDTH = 48
"""Number of columns in a dashboard's grid."""

Object = dict[str, Any]


def saved_objects(spec: FeatureSpec, settings: Settings) -> list[Object]:
    """All saved objects, each after the objects that it refers to."""
    base = settings.records_base
    title = settings.title or settings.name
    predictions = _data_view(base, f"{title}: predictions")
    feedback = _data_view(feedback_base(base), f"{title}: feedback")
    recorded = [INPUT + feature.name for feature in spec.features if not feature.pii][:6]
    shown = ["prediction", *(["confidence"] if spec.task == "classification" else []), "model_version", *recorded]
    search = _search(f"{base}-predictions", f"{title}: predictions", shown, predictions)
    found = _search(f"{base}-feedback", f"{title}: feedback", ["prediction_id", "label", "source"], feedback)
    charts = [
        _visualization(f"{base}-{name}", f"{title}: {words}", kind, aggregations, predictions)
        for name, words, kind, aggregations in _charts(spec)
    ]
    return [predictions, feedback, search, found, *charts, _dashboard(base, title, charts, search)]


def as_lines(objects: Sequence[Object]) -> str:
    """The objects as NDJSON, which Kibana imports."""
    return "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in objects)


def _charts(spec: FeatureSpec) -> list[tuple[str, str, str, list[Object]]]:
    """Name, title, kind and aggregations of each chart."""
    percentiles = {"percents": [50, 95, 99]}
    versions = [_count(), _over_time(), _by("model_version")]
    latency = [_aggregation("1", "percentiles", "metric", "latency_ms", **percentiles), _over_time()]
    if spec.task == "classification":
        answers = (
            "over-time",
            "predictions over time by class",
            "histogram",
            [_count(), _over_time(), _by("prediction")],
        )
        spread = ("spread", "confidence", "histogram", [_count(), _ranges("confidence", 0.05)])
    else:
        spans = _aggregation("1", "percentiles", "metric", "prediction", percents=[5, 50, 95])
        answers = ("over-time", "predictions over time (5, 50, 95 %)", "line", [spans, _over_time()])
        spread = ("spread", "distribution of predictions", "histogram", [_count(), _ranges("prediction", "auto")])
    return [
        answers,
        spread,
        ("latency", "latency in ms (50, 95, 99 %)", "line", latency),
        ("versions", "predictions over time by model version", "histogram", versions),
    ]


def _object(kind: str, identity: str, attributes: Object, references: list[Object]) -> Object:
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": CORE_FORMAT,
        "typeMigrationVersion": FORMATS[kind],
    }


def _reference(to: Object, name: str) -> Object:
    return {"type": to["type"], "id": to["id"], "name": name}


def _data_view(alias: str, words: str) -> Object:
    return _object("index-pattern", alias, {"title": alias, "name": words, "timeFieldName": TIME_KEY}, [])


def _all(**source: str) -> Object:
    """A search that matches everything."""
    query = {"query": "", "language": "kuery"}
    return {"searchSourceJSON": json.dumps({"query": query, "filter": [], **source})}


def _search(identity: str, title: str, columns: list[str], view: Object) -> Object:
    attributes = {
        "title": title,
        "description": "",
        "columns": columns,
        "sort": [[TIME_KEY, "desc"]],
        "grid": {},
        "hideChart": False,
        "kibanaSavedObjectMeta": _all(indexRefName=SOURCE),
    }
    return _object("search", identity, attributes, [_reference(view, SOURCE)])


def _visualization(identity: str, title: str, kind: str, aggregations: list[Object], view: Object) -> Object:
    state = {"title": title, "type": kind, "aggs": aggregations, "params": _axes(kind)}
    attributes = {
        "title": title,
        "description": "",
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _all(indexRefName=SOURCE),
    }
    return _object("visualization", identity, attributes, [_reference(view, SOURCE)])


def _axes(kind: str) -> Object:
    """Parameters of a chart with one measure and one category axis."""
    across = {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "scale": {"type": "linear"}}
    upwards = {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left"}
    labels = {"show": True, "filter": True, "truncate": 100}
    mode = "stacked" if kind == "histogram" else "normal"
    series = {"show": True, "type": kind, "mode": mode, "valueAxis": "ValueAxis-1", "data": {"id": "1", "label": ""}}
    return {
        "type": kind,
        "grid": {"categoryLines": False},
        "categoryAxes": [{**across, "show": True, "style": {}, "labels": labels, "title": {}}],
        "valueAxes": [
            {
                **upwards,
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {**labels, "rotate": 0, "filter": False},
                "title": {"text": ""},
            }
        ],
        "seriesParams": [{**series, "interpolate": "linear", "lineWidth": 2, "showCircles": kind == "line"}],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 0, "width": 1, "style": "full", "color": "#E7664C"},
        "palette": {"type": "palette", "name": "default"},
        "isVislibVis": True,
        "detailedTooltip": True,
    }


def _aggregation(identity: str, kind: str, schema: str, field: str | None, **parameters: Any) -> Object:
    fields = {} if field is None else {"field": field}
    return {"id": identity, "enabled": True, "type": kind, "schema": schema, "params": {**fields, **parameters}}


def _count() -> Object:
    return _aggregation("1", "count", "metric", None)


def _over_time() -> Object:
    return _aggregation(
        "2", "date_histogram", "segment", TIME_KEY, interval="auto", min_doc_count=1, drop_partials=False
    )


def _by(field: str) -> Object:
    return _aggregation("3", "terms", "group", field, size=20, order="desc", orderBy="1", otherBucket=True)


def _ranges(field: str, interval: float | str) -> Object:
    return _aggregation("2", "histogram", "segment", field, interval=interval, min_doc_count=False)


def _dashboard(base: str, title: str, charts: Sequence[Object], search: Object) -> Object:
    """A dashboard with two charts per row and the search below them."""
    half, height = WIDTH // 2, 15
    places = [(index % 2 * half, index // 2 * height, half, height) for index in range(len(charts))]
    places.append((0, -(-len(charts) // 2) * height, WIDTH, 20))
    panels, references = [], []
    for index, (content, (x, y, w, h)) in enumerate(zip([*charts, search], places, strict=True), start=1):
        name = f"panel_{index}"
        grid = {"x": x, "y": y, "w": w, "h": h, "i": str(index)}
        panels.append(
            {
                "type": content["type"],
                "gridData": grid,
                "panelIndex": str(index),
                "embeddableConfig": {"enhancements": {}},
                "panelRefName": name,
            }
        )
        references.append(_reference(content, f"{index}:{name}"))
    attributes = {
        "title": title,
        "description": "Predictions, their confidence and latency, and the model versions that gave them.",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True, "syncColors": False, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 30_000},
        "version": 1,
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
    }
    return _object("dashboard", base, attributes, references)
