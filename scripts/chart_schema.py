"""The part of the Helm chart's `values.schema.json` that settings decide: what may be laid over `config.yaml`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}"
SCHEMA = TREE / "helm/values.schema.json"
WIDTH = 120


def render(text: str) -> str:
    """The schema with the settings as the code has them now."""
    from ml_microservice.delivery.settings import DeliverySettings

    document = json.loads(text)
    document["properties"]["config"] = _section(DeliverySettings.model_json_schema())
    del document["properties"]["config"]["properties"]["pipelines"]  # what runs has no use for it
    return _lines(document) + "\n"


def _section(whole: dict[str, Any]) -> dict[str, Any]:
    """A section's keys but for secrets and mappings, which are no variables; the sections below it in their places."""
    definitions = whole.get("$defs", {})

    def keys(section: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, value in section["properties"].items():
            reference = value.get("$ref")
            if reference:
                found[key] = keys(definitions[reference.rpartition("/")[2]])
            elif not value.get("secret") and value.get("type") != "object":
                found[key] = _bare(value)
        return {"type": "object", "properties": found, "additionalProperties": False}

    return keys(whole)


def _bare(schema: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _bare(value) for key, value in schema.items() if key not in ("title", "default", "format")}


def _lines(value: Any, indent: int = 0, taken: int = 0) -> str:
    """JSON with what fits into a line on one line."""
    line = json.dumps(value)
    if not isinstance(value, dict | list) or indent + taken + len(line) < WIDTH:
        return line
    pad = " " * (indent + 2)
    if isinstance(value, list):
        parts = [pad + _lines(item, indent + 2) for item in value]
        return "[\n" + ",\n".join(parts) + "\n" + " " * indent + "]"
    parts = []
    for key, item in value.items():
        name = f"{json.dumps(key)}: "
        parts.append(pad + name + _lines(item, indent + 2, len(name)))
    return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
