"""Write the tables of keys and checks into the documentation, and settings into the chart's schema, from the code.

Usage: python scripts/render_docs.py [--check]

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. With --check nothing is written, and the exit code
is 1 if a table is stale.
"""

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import chart_schema

TEMPLATE = Path(__file__).resolve().parents[1]
TREE = TEMPLATE / "{{cookiecutter.project_slug}}"
FILES = (
    TEMPLATE / "docs/contract.md",
    *(TREE / "docs" / name for name in ("features.md", "configuration.md", "training.md", "gate.md")),
)
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
SIMPLE = {
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "string": "text",
    "object": "keys and values",
}
PLURAL = {"number": "numbers", "whole number": "whole numbers", "text": "texts"}
INT64 = 2**63


def main() -> None:
    """Write, or check, every file."""
    before = {path: path.read_text(encoding="utf-8") for path in (*FILES, chart_schema.SCHEMA)}
    after = {path: (render if path in FILES else chart_schema.render)(text) for path, text in before.items()}
    stale = [path for path in before if before[path] != after[path]]
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'wrote'}: {path.relative_to(TEMPLATE)}")
        if "--check" not in sys.argv:
            path.write_text(after[path], encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit("run: python scripts/render_docs.py")


def render(text: str) -> str:
    """The text with every generated block as the code has it now."""
    tables = {"features": features_tables, "config": config_tables, "checks": checks_table}
    tables |= {"evaluation": lambda: document_table("Comparison"), "verdict": lambda: document_table("Verdict")}
    return BLOCK.sub(lambda block: f"{block[1]}\n{tables[block[2]]()}\n{block[3]}", text)


def features_tables() -> str:
    """The keys of `features.yaml`: of the file, of the types, of a feature."""
    from ml_microservice.features.spec import FEATURE_TYPES, FeatureSpec

    common = set.intersection(*(set(model.model_fields) for model in FEATURE_TYPES.values()))
    file = [[f"`{key}`", meaning(FeatureSpec, key)] for key in FeatureSpec.model_fields]
    types = [
        [f"`{name}`", text(model.__doc__), ", ".join(own_keys(model, common)) or "none"]
        for name, model in FEATURE_TYPES.items()
    ]
    return "\n".join(
        [
            "The file:\n",
            table(("key", "meaning"), file),
            "The types of a feature:\n",
            table(("`type`", "what it holds", "keys of its own"), types),
            "The keys of a feature:\n",
            table(("key", "of", "value", "default", "meaning"), key_rows(FEATURE_TYPES)),
        ]
    )


def own_keys(model: type[BaseModel], common: set[str]) -> list[str]:
    """The keys that not every type has."""
    required = {key for key, field in model.model_fields.items() if field.is_required()}
    return [f"`{key}`" + " (required)" * (key in required) for key in model.model_fields if key not in common]


def key_rows(types: Mapping[str, type[BaseModel]]) -> list[list[str]]:
    """One row for each key and meaning, with the types that know it so."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, model in types.items():
        for key in model.model_fields:
            found.setdefault((key, meaning(model, key)), []).append(name)
    rows = []
    for (key, words), names in found.items():
        fields = [types[name].model_fields[key] for name in names]
        values = list(dict.fromkeys(value_words(types[name], key) for name in names))
        of = "every type" if len(names) == len(types) else ", ".join(f"`{name}`" for name in names)
        if key == "type":
            values, words = ["one of the types above"], "What the feature holds."
        rows.append(
            [
                f"`{key}`",
                of,
                values[0] if len(values) == 1 else "as in a request",
                default_words(fields[0].default),
                words,
            ]
        )
    order = ["name", "type", *dict.fromkeys(key for key, _ in found if key not in ("default", "example"))]
    places = {f"`{key}`": place for place, key in enumerate(order)}
    return sorted(rows, key=lambda row: places.get(row[0], len(places)))


def config_tables() -> str:
    """The keys of `config.yaml`, section by section."""
    from ml_microservice.delivery.settings import DeliverySettings
    from ml_microservice.settings import ENV_PREFIX

    sections = {
        key: field.annotation
        for key, field in DeliverySettings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    parts = ["At the top:\n", settings_table(DeliverySettings, ENV_PREFIX, skip=sections)]
    for name, section in sections.items():
        parts += [f"`{name}`: {text(section.__doc__)}\n", settings_table(section, f"{ENV_PREFIX}{name.upper()}__")]
        for key, field in section.model_fields.items():
            entry = get_args(field.annotation)[1] if get_origin(field.annotation) is dict else None
            if isinstance(entry, type) and issubclass(entry, BaseModel):
                parts += [f"Each of `{name}.{key}`: {text(entry.__doc__)}\n", settings_table(entry, None)]
    return "\n".join(parts)


def checks_table() -> str:
    """What `ml-service check` looks at."""
    from ml_microservice.conformance.kit import CHECKS

    return table(("check", "what holds where it passes"), [[f"`{check.name}`", text(check.title)] for check in CHECKS])


def document_table(name: str) -> str:
    """The keys of a file that the gate writes."""
    from ml_microservice.gate import documents

    return table(("key", "value", "meaning"), document_rows(getattr(documents, name)))


def document_rows(document: type[BaseModel], path: str = "") -> Iterator[list[str]]:
    """A row for each key, with those of an object right below it."""
    for key, field in document.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        is_list = get_origin(field.annotation) is tuple
        words = ("list of objects" if is_list else "object") if inner else value_words(document, key)
        null = " or null" if type(None) in kinds else ""
        yield [f"`{path}{key}`", words + null, meaning(document, key)]
        if inner:
            yield from document_rows(inner, f"{path}{key}{'[]' if is_list else ''}.")


def settings_table(section: type[BaseModel], prefix: str | None, skip: Iterable[str] = ()) -> str:
    """The keys of one section; with the prefix of its variables, unless it can have none."""
    rows = []
    for key, field in section.model_fields.items():
        if key in skip:
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        words = value_words(section, key)
        rows.append(
            [
                f"`{key}`",
                f"{words}; environment only" if extra.get("secret") else words,
                default_words(field.default),
                "none" if prefix is None or get_origin(field.annotation) is dict else f"`{prefix}{key.upper()}`",
                meaning(section, key),
            ]
        )
    return table(("key", "value", "default", "environment variable", "meaning"), rows)


def value_words(model: type[BaseModel], key: str) -> str:
    """What may stand there, from the field's JSON schema."""
    schema = model.model_json_schema()
    return schema_words(schema["properties"][key])


def schema_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(schema_words(item) for item in schema["anyOf"] if item.get("type") != "null"))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema_words(schema.get("items", {}))
        return "list of " + " or ".join(PLURAL.get(item, item) for item in items.split(" or "))
    if schema.get("format") == "path":
        return "path"
    if schema.get("format") == "date-time":
        return "date and time"
    return SIMPLE.get(schema.get("type", ""), "value") + bounds(schema)


def bounds(schema: Mapping[str, Any]) -> str:
    """The limits that a schema sets."""
    if "pattern" in schema:
        return ": a-z, 0-9 and -" + (f", at most {schema['maxLength']}" if "maxLength" in schema else "")
    low, high = schema.get("minLength"), schema.get("maxLength")
    if high is not None:
        return f" of {low or 0} to {high} characters"
    if low is not None:
        return ", not empty"
    if "exclusiveMinimum" in schema and "exclusiveMaximum" in schema:
        return f" between {schema['exclusiveMinimum']} and {schema['exclusiveMaximum']}"
    low, high = schema.get("minimum"), schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and abs(low) >= INT64:
        return " of 64 bits"
    if low is None:
        return ""
    last = high - 1 if "exclusiveMaximum" in schema and high is not None else high
    return f", {low} to {last}" if last is not None else f", at least {low}"


def default_words(value: Any) -> str:
    """A default as it would be written in YAML, or that there is none."""
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ((), "", {}):
        return "none"
    return f"`{value}`" if isinstance(value, str | Path) else f"`{json.dumps(value)}`"


def meaning(model: type[BaseModel], key: str) -> str:
    """The docstring below a field, in the class that declares it.

    Pydantic would read the sources for them at every start of the service (`use_attribute_docstrings`).
    """
    owner = next(base for base in model.__mro__ if key in inspect.get_annotations(base))
    (definition,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(definition, ast.ClassDef)
    for field, below in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id == key:
            match below:
                case ast.Expr(ast.Constant(str(docstring))):
                    return text(docstring)
    return ""


def text(docstring: str | None) -> str:
    """A docstring in one line, as a cell of a table."""
    return " ".join((docstring or "").split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
