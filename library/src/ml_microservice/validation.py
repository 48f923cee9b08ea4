"""Pydantic's errors about a YAML file, in words that name the file, the line, the key and the remedy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ml_microservice.errors import Fault, did_you_mean, listed
from ml_microservice.yaml_file import YamlFile

MESSAGES = {
    "missing": "{key} is missing",
    "string_type": "{key} must be text",
    "int_type": "{key} must be a whole number",
    "int_parsing": "{key} must be a whole number",
    "int_from_float": "{key} must be a whole number",
    "float_type": "{key} must be a number",
    "float_parsing": "{key} must be a number",
    "bool_type": "{key} must be true or false",
    "bool_parsing": "{key} must be true or false",
    "list_type": "{key} must be a list",
    "tuple_type": "{key} must be a list",
    "dict_type": "{key} must be keys and values",
    "model_type": "{key} must be keys and values",
    "model_attributes_type": "{key} must be keys and values",
    "greater_than": "{key} must be greater than {gt}",
    "greater_than_equal": "{key} must be at least {ge}",
    "less_than": "{key} must be less than {lt}",
    "less_than_equal": "{key} must be at most {le}",
    "string_too_short": "{key} must not be empty",
    "too_short": "{key} must have at least {min_length} entries",
    "string_too_long": "{key} must have at most {max_length} characters",
    "literal_error": "{key} must be one of {expected}",
    "string_pattern_mismatch": "{key} must match {pattern}",
    "value_error": "{error}",
}


def config_faults(
    error: ValidationError,
    model: type[BaseModel],
    document: YamlFile,
    variables: Mapping[str, str],
    others: Sequence[str] = (),
) -> list[Fault]:
    """One fault for each mistake in a file.

    Args:
        error: what Pydantic says of the file's values.
        model: what they were validated by.
        document: the file.
        variables: by dotted key, the environment variable that its value came from.
        others: keys at the top of the file that are valid and not the model's.
    """
    faults = []
    for item in error.errors(include_url=False):
        location = tuple(item["loc"])
        is_name = location[-1:] == ("[key]",)
        location = location[:-1] if is_name else location
        key = ".".join(str(part) for part in location)
        variable = variables.get(key)
        if item["type"] == "extra_forbidden":
            message = f"unknown key {key!r}"
            known = [*_keys_at(model, location[:-1]), *(others if len(location) == 1 else ())]
            advice = did_you_mean(str(location[-1]), known, f"known here: {listed(known)}")
        else:
            message, advice = sentence(item, f"the name {key}" if is_name else key or "the file"), None
        if variable:
            faults.append(Fault(f"environment variable {variable}: {message}", advice=advice))
        else:
            faults.append(Fault(message, file=document.name, line=document.line(location), advice=advice))
    return faults


def sentence(item: Mapping[str, Any], key: str) -> str:
    """The rule that an item of `ValidationError.errors()` broke, as a sentence about `key`."""
    template = MESSAGES.get(item["type"])
    if template is None:
        return f"{key}: {item['msg']}"
    return template.format(key=key, **item.get("ctx", {}))


def _keys_at(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """The keys that are known inside the section at `location`."""
    annotation: Any = model
    for part in location:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            annotation = annotation.model_fields[str(part)].annotation
        if not (get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel))):
            return []
    return list(annotation.model_fields)
