"""The indices of records: lifecycle policy and index templates, with a type for every feature.

An index holds the records of one day, by their own time, so that a repeated record replaces itself, however late:
`<base>-YYYY.MM.DD` for predictions and `<base>.feedback-YYYY.MM.DD`. The aliases `<base>` and `<base>.feedback` name
all of them.
"""

from typing import Any

from ml_microservice.features.spec import Feature, FeatureSpec
from ml_microservice.records.documents import FEEDBACK_ID, INPUT, PREDICTION_ID, PROBABILITY, TIME_KEY
from ml_microservice.settings import Settings

KEYWORD = {"type": "keyword"}
TEXT_KEYWORD = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
FEATURE_TYPES: dict[str, dict[str, Any]] = {
    "float": {"type": "double"},
    "int": {"type": "long"},
    "bool": {"type": "boolean"},
    "category": KEYWORD,
    "string": TEXT_KEYWORD,
    "datetime": {"type": "date"},
    # Stored, but not searchable: dense_vector limits the length, and refuses documents when the length changes.
    "vector": {"type": "float", "index": False, "doc_values": False},
}
"""Index types by feature type."""
MOST_FIELDS = 10_000
"""Limit of fields. Each class has a field for its probability, and Elasticsearch refuses documents beyond the limit."""
PRIORITY = 200
"""Priority of the index templates, above those that come with Elasticsearch."""


def feedback_base(base: str) -> str:
    """Base name of the feedback indices. It cannot collide with a project's name, which has no dot."""
    return f"{base}.feedback"


def index_objects(spec: FeatureSpec, settings: Settings) -> dict[str, dict[str, Any]]:
    """Objects to put into Elasticsearch by API path, in the order in which they must be put."""
    base = settings.records_base
    return {
        f"_ilm/policy/{base}": lifecycle(settings.records.retention_days),
        f"_index_template/{base}": _template(settings, base, prediction_fields(spec, settings.records.pii == "hash")),
        f"_index_template/{feedback_base(base)}": _template(settings, feedback_base(base), feedback_fields(spec)),
    }


def prediction_fields(spec: FeatureSpec, hashed: bool) -> dict[str, dict[str, Any]]:
    """Types of the fields of a prediction's document, without probabilities: their names depend on the model.

    Args:
        spec: the features.
        hashed: whether `pii` features are recorded as hashes; otherwise they are not recorded.
    """
    fields = {
        TIME_KEY: {"type": "date"},
        PREDICTION_ID: KEYWORD,
        "entity_id": KEYWORD,
        "model_version": KEYWORD,
        "model_id": KEYWORD,
        "route": KEYWORD,
        "prediction": _answer(spec),
        "confidence": {"type": "double"},
        "latency_ms": {"type": "double"},
    }
    if spec.task == "regression":
        del fields["confidence"]
    recorded = (feature for feature in spec.features if hashed or not feature.pii)
    return fields | {INPUT + feature.name: feature_type(feature) for feature in recorded}


def feedback_fields(spec: FeatureSpec) -> dict[str, dict[str, Any]]:
    """Types of the fields of a feedback document."""
    return {
        TIME_KEY: {"type": "date"},
        FEEDBACK_ID: KEYWORD,
        PREDICTION_ID: KEYWORD,
        "label": _answer(spec),
        "observed_at": {"type": "date"},
        "source": KEYWORD,
    }


def feature_type(feature: Feature) -> dict[str, Any]:
    """The index type of a recorded feature; personal data is recorded as a hash."""
    return KEYWORD if feature.pii else FEATURE_TYPES[feature.type]


def lifecycle(retention_days: int | None) -> dict[str, Any]:
    """The lifecycle policy. It deletes nothing unless `records.retention_days` is set, and never a day too early.

    Older indices stay writable, because records may arrive late. Therefore they are not force-merged.
    """
    phases: dict[str, Any] = {"hot": {"actions": {"set_priority": {"priority": 100}}}}
    if retention_days is not None:
        phases["delete"] = {"min_age": f"{retention_days + 1}d", "actions": {"delete": {}}}
    return {"policy": {"phases": phases}}


def _answer(spec: FeatureSpec) -> dict[str, Any]:
    return KEYWORD if spec.task == "classification" else {"type": "double"}


def _template(settings: Settings, base: str, fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "index_patterns": [f"{base}-2*"],
        # If one project's name is a prefix of another's, the template of the longer name takes precedence.
        "priority": PRIORITY + len(base),
        "_meta": {"description": settings.description, "made_by": "ml-service logging"},
        "template": {
            "aliases": {base: {}},
            "settings": {
                "index.lifecycle.name": settings.records_base,
                # The age is that of the day in the index's name, not of the time when a late record created the index.
                "index.lifecycle.parse_origination_date": True,
                "index.number_of_shards": 1,
                "index.mapping.total_fields.limit": MOST_FIELDS + 2 * len(fields),
                # A value of the wrong type is not indexed, but the record is stored.
                "index.mapping.ignore_malformed": True,
            },
            "mappings": {
                # A dot in the name of a feature or a class is part of the name.
                "subobjects": False,
                "dynamic_templates": [
                    {"probabilities": {"path_match": f"{PROBABILITY}*", "mapping": {"type": "double"}}},
                    {"unknown": {"match_mapping_type": "*", "mapping": {"type": "keyword", "ignore_above": 1024}}},
                ],
                "properties": fields,
            },
        },
    }
