"""The reader of `features.yaml`, which reports every mistake with its line."""

from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from ml_microservice.errors import ConfigError, Fault, did_you_mean, listed
from ml_microservice.features.request import feature_adapter
from ml_microservice.features.spec import FEATURE_TYPES, Feature, FeatureDraft, FeatureSpec, Task
from ml_microservice.validation import sentence
from ml_microservice.yaml_file import Location, YamlFile, read_yaml

FEATURES_FILE = "src/model/features.yaml"
KEYS = ("task", "target", "features")
RESPONSE_KEYS = (
    "prediction",
    "probabilities",
    "prediction_id",
    "model_version",
    "model_id",
    "model_created_at",
    "timestamp",
    "error",
)
"""Keys of an answer, which the entity id, echoed beside them, may not be called."""

_FEATURE: TypeAdapter[Feature] = TypeAdapter(Feature)


def load_features(path: Path, id_name: str | None = None, name: str = FEATURES_FILE) -> FeatureDraft:
    """Read `features.yaml`: a mapping of task, target and features, or a bare list of names.

    Args:
        path: the file.
        id_name: name of the entity id, which may not be a feature.
        name: what errors call the file.

    Raises:
        ConfigError: with one fault per mistake, each with its line.
    """
    return check_features(read_yaml(path, name), id_name)


def check_features(document: YamlFile, id_name: str | None) -> FeatureDraft:
    """Check a document that was read already; see `load_features`."""
    data = {"features": document.data} if isinstance(document.data, list) else document.data
    offset: Location = () if isinstance(document.data, list) else ("features",)
    if not isinstance(data, dict):
        raise ConfigError(Fault("expected task, target and features", file=document.name))
    features, faults = _features(data.get("features"), document, offset)
    names = _names(data.get("features"), offset)
    faults = _header_faults(data, document) + faults + _name_faults(names, data.get("target"), id_name, document)
    if faults:
        raise ConfigError(*faults)
    return FeatureDraft(data.get("task"), data.get("target"), tuple(features))


def complete_features(draft: FeatureDraft) -> FeatureSpec:
    """The specification of a file in which nothing is left to the training frame.

    Raises:
        ConfigError: a type, the task or the target is missing.
    """
    spec = draft.complete()
    if spec is None:
        advice = "'ml-service features infer --write' fills them in from the training frame"
        raise ConfigError(Fault("the task, the target or a type is missing", file=FEATURES_FILE, advice=advice))
    return spec


def _header_faults(data: dict[str, Any], document: YamlFile) -> list[Fault]:
    faults = []
    for key in data:
        if key not in KEYS:
            advice = did_you_mean(str(key), KEYS, f"known here: {listed(KEYS)}")
            faults.append(Fault(f"unknown key {key!r}", file=document.name, line=document.line((key,)), advice=advice))
    task, tasks = data.get("task"), get_args(Task)
    if task is not None and task not in tasks:
        advice = did_you_mean(str(task), tasks)
        message = f"task must be one of {listed(tasks)}, not {task!r}"
        faults.append(Fault(message, file=document.name, line=document.line(("task",)), advice=advice))
    target = data.get("target")
    if isinstance(target, list):
        message, advice = "target must be one column: several outputs are not supported", "train one service per output"
        faults.append(Fault(message, file=document.name, line=document.line(("target",)), advice=advice))
    elif target is not None and not (isinstance(target, str) and target):
        message = f"target must be the name of a column, not {target!r}"
        faults.append(Fault(message, file=document.name, line=document.line(("target",))))
    return faults


def _features(items: Any, document: YamlFile, offset: Location) -> tuple[list[Feature | str], list[Fault]]:
    if not isinstance(items, list) or not items:
        line = document.line(("features",))
        advice = "list the columns that the model predicts from"
        return [], [Fault("features must be a list with at least one entry", document.name, line, advice)]
    features: list[Feature | str] = []
    faults: list[Fault] = []
    for index, item in enumerate(items):
        location: Location = (*offset, index)
        if isinstance(item, str) and item:
            features.append(item)
        elif isinstance(item, dict):
            feature, found = _feature(item, document, location)
            features += [feature] if feature else []
            faults += found
        else:
            line = document.line(location)
            advice = "give a name, or name, type and constraints"
            faults.append(Fault(f"entry {index + 1} is neither a name nor a feature", document.name, line, advice))
    return features, faults


def _feature(item: dict[str, Any], document: YamlFile, location: Location) -> tuple[Feature | None, list[Fault]]:
    label = f"feature {item.get('name')!r}" if item.get("name") else f"feature {int(location[-1]) + 1}"
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in FEATURE_TYPES:
        message = f"{label}: type must be one of {listed(FEATURE_TYPES)}" + (f", not {kind!r}" if kind else "")
        advice = did_you_mean(str(kind), FEATURE_TYPES) if kind else None
        return None, [Fault(message, document.name, document.line((*location, "type")), advice)]
    try:
        feature = _FEATURE.validate_python(item)
    except ValidationError as error:
        return None, [_feature_fault(problem, label, kind, document, location) for problem in error.errors()]
    faults = []
    for key in ("default", "example"):
        value = item.get(key)
        if value is not None and (problem := _value_problem(feature, key)):
            faults.append(Fault(f"{label}: {problem}", document.name, document.line((*location, key))))
    return feature, faults


def _feature_fault(problem: Any, label: str, kind: str, document: YamlFile, location: Location) -> Fault:
    path = tuple(problem["loc"][1:])
    line = document.line((*location, *path))
    if problem["type"] == "extra_forbidden":
        known = [key for key in FEATURE_TYPES[kind].model_fields if key != "name"]
        advice = did_you_mean(str(path[0]), known, f"a {kind} knows {listed(known)}")
        return Fault(f"{label}: unknown key {path[0]!r}", document.name, line, advice)
    key = str(path[0]) if path else "it"
    return Fault(f"{label}: {sentence(problem, key)}", document.name, line)


def _value_problem(feature: Feature, key: str) -> str | None:
    """The reason why a default or example is not a valid request value, if it is not."""
    try:
        document = TypeAdapter(Any).dump_json(getattr(feature, key))
        feature_adapter(feature).validate_json(document)
    except ValidationError as error:
        return sentence(error.errors()[0], key)
    return None


def _names(items: Any, offset: Location) -> dict[str, list[Location]]:
    """The locations of each name, including those of features with other faults."""
    places: dict[str, list[Location]] = {}
    for index, item in enumerate(items if isinstance(items, list) else []):
        name = item.get("name") if isinstance(item, dict) else item
        if isinstance(name, str):
            places.setdefault(name, []).append((*offset, index))
    return places


def _name_faults(names: dict[str, list[Location]], target: Any, id_name: str | None, document: YamlFile) -> list[Fault]:
    faults = []
    for name, places in names.items():
        if len(places) > 1:
            message, line = f"feature {name!r} stands more than once", document.line(places[1])
            faults.append(Fault(message, document.name, line, "keep one of them"))
    if isinstance(target, str) and target in names:
        message = f"the target {target!r} is among the features"
        advice = "remove it from the features: the model would be shown the answer"
        faults.append(Fault(message, document.name, document.line(names[target][0]), advice))
    if id_name is not None and id_name in names:
        message = f"the entity id {id_name!r} is among the features"
        advice = "remove it from the features, or set another id_name in config.yaml"
        faults.append(Fault(message, document.name, document.line(names[id_name][0]), advice))
    if id_name in RESPONSE_KEYS:
        faults.append(Fault(f"id_name may not be {id_name!r}, a key of every answer", "config.yaml"))
    return faults
