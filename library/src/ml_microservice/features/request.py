"""Request models, built from `features.yaml` by Pydantic: one field per feature, with its rules and its words.

JSON is taken at its word: `"5"` is not 5, `true` is not 1, NaN is no number, and a key that is not known is an error.
"""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, TypeAdapter, create_model
from pydantic_core import CoreSchema, core_schema

from ml_microservice.features.fields import ENTITY_ID, feature_fields
from ml_microservice.features.spec import (
    EARLIEST,
    INT64,
    LATEST,
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FeatureSpec,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)

ID_MAX_LENGTH = 256
ISO_8601 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:?\d{2})?$"
EntityId = Annotated[str, Field(max_length=ID_MAX_LENGTH)] | Annotated[int, Field(ge=-INT64, lt=INT64)]

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
JsonObject = dict[str, Any]
"""A JSON object as Python has it."""


def build_request_model(spec: FeatureSpec, id_name: str | None) -> type[BaseModel]:
    """The model of one row to predict.

    Its fields are those of `fields`, each with the name of its feature, or the entity id, as alias.
    """
    fields: dict[str, Any] = {
        field: (request_type(feature), _field(feature))
        for field, feature in zip(feature_fields(spec), spec.features, strict=True)
    }
    if id_name is not None:
        description = "Entity id: echoed and recorded, never a feature."
        info = Field(None, alias=id_name, title=id_name, description=description)
        fields[ENTITY_ID] = (EntityId | None, info)
    config = ConfigDict(extra="forbid", title="PredictRequest", **STRICT)
    return cast(type[BaseModel], create_model("PredictRequest", __config__=config, **fields))


def feature_adapter(feature: Feature) -> TypeAdapter[Any]:
    """A validator of single values of one feature, by the same rules as in a request."""
    return TypeAdapter(request_type(feature), config=STRICT)


def request_type(feature: Feature) -> Any:
    """The type of one feature in a request."""
    required = _value_type(feature)
    return required | None if feature.optional else required


def _value_type(feature: Feature) -> Any:
    match feature:
        case FloatFeature():
            return Annotated[float, Field(ge=feature.min, le=feature.max)]
        case IntFeature():
            low = -INT64 if feature.min is None else feature.min
            high = INT64 - 1 if feature.max is None else feature.max
            return Annotated[int, Field(ge=low, le=high)]
        case BoolFeature():
            return bool
        case CategoryFeature():
            literal: Any = Literal.__getitem__(feature.values)
            # Literal alone takes `true` and `1.0` for 1.
            exact = core_schema.int_schema if isinstance(feature.values[0], int) else core_schema.str_schema
            return Annotated[literal, GetPydanticSchema(partial(chained, exact(strict=True)))]
        case StringFeature():
            return Annotated[str, Field(max_length=feature.max_length)]
        case DatetimeFeature():
            # A datetime alone takes numbers in text for seconds since 1970.
            text = core_schema.str_schema(strict=True, pattern=ISO_8601)
            earliest = EARLIEST if feature.min is None else max(feature.min, EARLIEST)
            latest = LATEST if feature.max is None else min(feature.max, LATEST)
            moment = Annotated[datetime, Field(strict=False, ge=earliest, le=latest)]
            return Annotated[moment, GetPydanticSchema(partial(chained, text))]
        case VectorFeature():
            element: Any = Annotated[float, Field(ge=feature.min, le=feature.max)]
            return Annotated[list[element], Field(min_length=feature.length, max_length=feature.length)]


def chained(first: CoreSchema, source: Any, handler: Any) -> CoreSchema:
    """A schema that validates by `first` and then by the annotated type; documented as the latter."""
    second = handler(source)
    return core_schema.chain_schema(
        [first, second],
        metadata={"pydantic_js_functions": [lambda _schema, to_json: to_json(second)]},
    )


def _field(feature: Feature) -> Any:
    extra: dict[str, Any] = {"unit": feature.unit} if feature.unit else {}
    if feature.pii:
        extra["x-pii"] = True
    example = jsonable(feature.example)
    default = jsonable(feature.default) if feature.has_default else None
    description = f"{feature.description} [{feature.unit}]" if feature.unit else feature.description
    initial: Any = ... if feature.required else default
    return Field(
        initial,
        alias=feature.name,
        title=feature.name,
        description=description or None,
        examples=None if example is None else [example],
        json_schema_extra=extra or None,
        validate_default=not feature.required and default is not None,
    )


def jsonable(value: Any) -> Any:
    """A feature's value as JSON would carry it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
