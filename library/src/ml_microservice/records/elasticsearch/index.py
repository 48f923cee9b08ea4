"""The indices of the records: their lifecycle and their templates, with a type for every feature.

An index holds the records of one day, by their own time, so that a record that comes again finds itself there, however
late: `<base>-YYYY.MM.DD` for predictions and `<base>.feedback-YYYY.MM.DD`. The aliases `<base>` and `<base>.feedback`
name all of them.
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
    # Kept and shown, not searched: dense_vector has a largest length, and refuses documents once the length changes.
    "vector": {"type": "float", "index": False, "doc_values": False},
}
"""Type of the index by type of the feature."""
MOST_FIELDS = 10_000
"""A model of many classes has many probabilities, each a field; Elasticsearch refuses a document beyond the limit."""
PRIORITY = 200
"""Above that of the templates that come with Elasticsearch."""


def feedback_base(base: str) -> str:
    """How the indices of feedback begin; no project can be called so, as its name has no dot."""
    return f"{base}.feedback"


def index_objects(spec: FeatureSpec, settings: Settings) -> dict[str, dict[str, Any]]:
    """What is put into Elasticsearch, by its path in the API, in the order in which it has to be put there."""
    base = settings.records_base
    return {
        f"_ilm/policy/{base}": lifecycle(settings.records.retention_days),
        f"_index_template/{base}": _template(settings, base, prediction_fields(spec, settings.records.pii == "hash")),
        f"_index_template/{feedback_base(base)}": _template(settings, feedback_base(base), feedback_fields(spec)),
    }


def prediction_fields(spec: FeatureSpec, hashed: bool) -> dict[str, dict[str, Any]]:
    """The type of each field of a prediction's document, but for the probabilities, whose classes the model names.

    Args:
        spec: the features.
        hashed: whether features that are `pii` are recorded as a hash; otherwise they are not there.
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
    """The type of each field of feedback's document."""
    return {
        TIME_KEY: {"type": "date"},
        FEEDBACK_ID: KEYWORD,
        PREDICTION_ID: KEYWORD,
        "label": _answer(spec),
        "observed_at": {"type": "date"},
        "source": KEYWORD,
    }


def feature_type(feature: Feature) -> dict[str, Any]:
    """The field of a feature that is recorded; of personal data, only a hash is."""
    return KEYWORD if feature.pii else FEATURE_TYPES[feature.type]


def lifecycle(retention_days: int | None) -> dict[str, Any]:
    """The policy: nothing is deleted unless `records.retention_days` says so, and never a day too early.

    Older indices stay writable, as records may come late; so they are not force-merged, which would close them.
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
        # Where one project's name begins another's, the longer one's template is the one that holds.
        "priority": PRIORITY + len(base),
        "_meta": {"description": settings.description, "made_by": "ml-service logging"},
        "template": {
            "aliases": {base: {}},
            "settings": {
                "index.lifecycle.name": settings.records_base,
                # Its age is that of its day, not of the moment when the first late record made it.
                "index.lifecycle.parse_origination_date": True,
                "index.number_of_shards": 1,
                "index.mapping.total_fields.limit": MOST_FIELDS + 2 * len(fields),
                # A value that does not fit is left out of the index, and the record is kept.
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
