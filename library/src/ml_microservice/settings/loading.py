"""Reading `config.yaml` and laying the environment over it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from ml_microservice.errors import ConfigError, Fault, did_you_mean
from ml_microservice.settings.project import Settings
from ml_microservice.settings.section import listed_words
from ml_microservice.validation import config_faults
from ml_microservice.yaml_file import read_yaml

CONFIG_FILE = "config.yaml"
ENV_PREFIX = "SERVICE__"
SECRETS = (
    "api.admin_keys",
    "api.keys",
    "database.password",
    "fluentd.shared_key",
    "jobs.broker_password",
    "jobs.webhook_key",
    "records.pii_key",
)
"""Settings that may not stand in `config.yaml`, because that file is committed."""
DELIVERY_SECTIONS = ("image", "pipelines")
"""Sections of `config.yaml` that `ml_microservice.delivery.settings` reads; a service leaves them alone."""

Model = TypeVar("Model", bound=Settings)


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `config.yaml` in `root` (the current folder by default) and lay the environment over it.

    A mistake in a section that only delivery reads is not reported: a service would refuse to start over it.

    Raises:
        ConfigError: with one fault per mistake, each with its line or variable.
    """
    return load_settings_as(Settings, root, environ)


def load_settings_as(model: type[Model], root: Path | None = None, environ: Mapping[str, str] | None = None) -> Model:
    """Read `config.yaml` and the environment into a class that may have more sections than a service reads.

    Raises:
        ConfigError: with one fault per mistake, each with its line or variable.
    """
    environ = os.environ if environ is None else environ
    root = (root or Path(environ.get("SERVICE_ROOT", "."))).resolve()
    document = read_yaml(root / CONFIG_FILE, CONFIG_FILE)
    if not isinstance(document.data, dict):
        raise ConfigError(Fault("expected keys and values", file=CONFIG_FILE, advice="start with 'name: my-project'"))
    secrets_in_file = [
        Fault(
            f"{key} is a secret and may not stand in a committed file",
            file=CONFIG_FILE,
            line=document.line(tuple(key.split("."))),
            advice=f"remove it here and set {ENV_PREFIX}{key.upper().replace('.', '__')}",
        )
        for key in SECRETS
        if _lookup(document.data, key.split(".")) is not None
    ]
    others = [name for name in DELIVERY_SECTIONS if name not in model.model_fields]
    data = {key: value for key, value in document.data.items() if key not in others}
    values, variables, faults = _overlay(model, data, _without(others, {**_secret_files(environ), **environ}))
    faults = secrets_in_file + faults
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        faults += config_faults(error, model, document, variables, others)
    if faults:
        raise ConfigError(*faults)
    settings._root = root
    return settings


def _lookup(data: Any, path: list[str]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables from files, as Docker and Kubernetes mount secrets: one file per variable, named after it."""
    folder = environ.get("SERVICE_SECRETS_DIR")
    if not folder:
        return {}
    return {path.name: path.read_text().strip() for path in Path(folder).glob(f"{ENV_PREFIX}*") if path.is_file()}


def _without(sections: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    prefixes = tuple(f"{ENV_PREFIX}{name.upper()}__" for name in sections)
    return {name: value for name, value in environ.items() if not name.startswith(prefixes)}


def _overlay(
    model: type[Settings], data: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """The file's values with the environment's laid over them, and the variable that each of those came from."""
    # A section of which every key is commented out reads as null.
    values = {key: dict(value or {}) if _is_section(model, key, value) else value for key, value in data.items()}
    known = _variable_names(model)
    variables: dict[str, str] = {}
    faults: list[Fault] = []
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        path = variable.removeprefix(ENV_PREFIX).lower().split("__")
        if variable not in known:
            advice = did_you_mean(variable, known, "see docs/configuration.md for the names")
            faults.append(Fault(f"environment variable {variable} names no setting", advice=advice))
            continue
        target = values
        for key in path[:-1]:
            target = target.setdefault(key, {})
        if not isinstance(target, dict):  # the validation of the file says so
            continue
        is_list = known[variable]
        target[path[-1]] = listed_words(environ[variable]) if is_list else environ[variable]
        variables[".".join(path)] = variable
    return values, variables, faults


def _is_section(model: type[Settings], key: str, value: Any) -> bool:
    field = model.model_fields.get(key)
    is_model = field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    return isinstance(value, dict) or (value is None and is_model)


def _variable_names(section: type[BaseModel], prefix: str = ENV_PREFIX) -> dict[str, bool]:
    """Every variable that names a setting, and whether it takes a list; keys of one's own choice have none."""
    names: dict[str, bool] = {}
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names |= _variable_names(annotation, f"{prefix}{name.upper()}__")
        elif get_origin(annotation) is not dict:
            names[f"{prefix}{name.upper()}"] = "tuple" in str(annotation)
    return names
