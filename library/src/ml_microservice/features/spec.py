"""The typed form of `features.yaml`: what a feature may be, and what the model predicts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator, model_validator

Task = Literal["classification", "regression"]
INT64 = 2**63
"""Whole numbers are below this and not below its negative."""
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
"""Moments between which any offset can be converted to UTC."""

Int64 = Annotated[int, Field(ge=-INT64, lt=INT64)]


class _Feature(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The column's name in the training frame and the key in a request: any text."""
    description: str = ""
    """What the feature means; shown in the API documentation."""
    unit: str = ""
    """Unit of measurement."""
    optional: bool = False
    """Whether a request may leave it out or send null; it then reaches the Preprocessor as missing, as in training."""
    pii: bool = False
    """Personal data: never logged or recorded as it is, and never repeated in an error."""

    @property
    def has_default(self) -> bool:
        """Whether a request that leaves the feature out gets a value for it."""
        return self.__dict__["default"] is not None

    @property
    def required(self) -> bool:
        """Whether a request must carry the feature."""
        return not (self.optional or self.has_default)


class _Ranged(_Feature):
    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        low, high = self.__dict__["min"], self.__dict__["max"]
        if low is not None and high is not None and low > high:
            raise ValueError(f"min ({low}) is greater than max ({high})")
        return self


class FloatFeature(_Ranged):
    """A number."""

    type: Literal["float"]
    min: float | None = None
    """Smallest value, inclusive."""
    max: float | None = None
    """Largest value, inclusive."""
    default: float | None = None
    """Value when a request leaves the feature out."""
    example: float | None = None
    """A typical value, for the documentation."""


class IntFeature(_Ranged):
    """A whole number that fits 64 bits."""

    type: Literal["int"]
    min: Int64 | None = None
    """Smallest value, inclusive."""
    max: Int64 | None = None
    """Largest value, inclusive."""
    default: Int64 | None = None
    """Value when a request leaves the feature out."""
    example: Int64 | None = None
    """A typical value, for the documentation."""


class BoolFeature(_Feature):
    """True or false."""

    type: Literal["bool"]
    default: bool | None = None
    """Value when a request leaves the feature out."""
    example: bool | None = None
    """A typical value, for the documentation."""


class CategoryFeature(_Feature):
    """One of a fixed set of words or whole numbers."""

    type: Literal["category"]
    values: Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1)]
    """All values that a request may carry."""
    default: StrictStr | StrictInt | None = None
    """Value when a request leaves the feature out."""
    example: StrictStr | StrictInt | None = None
    """A typical value, for the documentation."""

    @field_validator("values", mode="before")
    @classmethod
    def _values_are_of_one_kind(cls, values: Any) -> Any:
        if isinstance(values, list | tuple):
            words = all(isinstance(value, str) for value in values)
            whole = all(type(value) is int and -INT64 <= value < INT64 for value in values)
            if not (words or whole):
                raise ValueError("values must be all text or all whole numbers; quote what is meant as text")
        return values

    @field_validator("values")
    @classmethod
    def _values_are_distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(f"values has {', '.join(map(repr, repeated))} more than once")
        return values


class StringFeature(_Feature):
    """Free text."""

    type: Literal["string"]
    max_length: Annotated[int, Field(ge=1)] = 10_000
    """Most characters."""
    default: str | None = None
    """Value when a request leaves the feature out."""
    example: str | None = None
    """A typical value, for the documentation."""


class DatetimeFeature(_Ranged):
    """A date with time, as ISO 8601 text in requests; without an offset it is taken as UTC."""

    type: Literal["datetime"]
    min: datetime | None = None
    """Earliest moment, inclusive."""
    max: datetime | None = None
    """Latest moment, inclusive."""
    default: datetime | None = None
    """Value when a request leaves the feature out."""
    example: datetime | None = None
    """A typical value, for the documentation."""

    @field_validator("min", "max", "default", "example")
    @classmethod
    def _as_utc(cls, value: datetime | None) -> datetime | None:
        return as_utc(value) if value is not None else None


class VectorFeature(_Feature):
    """A list of numbers of fixed length, such as an embedding."""

    type: Literal["vector"]
    length: Annotated[int, Field(ge=1, le=100_000)]
    """Number of elements."""
    min: float | None = None
    """Smallest value of an element, inclusive."""
    max: float | None = None
    """Largest value of an element, inclusive."""
    default: tuple[float, ...] | None = None
    """Value when a request leaves the feature out."""
    example: tuple[float, ...] | None = None
    """A typical value, for the documentation."""

    @field_validator("default", "example")
    @classmethod
    def _has_the_length(cls, value: tuple[float, ...] | None, info: Any) -> tuple[float, ...] | None:
        length = info.data.get("length")
        if value is not None and length is not None and len(value) != length:
            raise ValueError(f"{info.field_name} has {len(value)} elements, length says {length}")
        return value


FEATURE_TYPES: dict[str, type[_Feature]] = {
    "float": FloatFeature,
    "int": IntFeature,
    "bool": BoolFeature,
    "category": CategoryFeature,
    "string": StringFeature,
    "datetime": DatetimeFeature,
    "vector": VectorFeature,
}

Feature = Annotated[
    FloatFeature | IntFeature | BoolFeature | CategoryFeature | StringFeature | DatetimeFeature | VectorFeature,
    Field(discriminator="type"),
]


class FeatureSpec(BaseModel):
    """What the model predicts and from which features: `features.yaml`, every type known."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    task: Task
    """`classification` or `regression`."""
    target: Annotated[str, Field(min_length=1)]
    """The column that is predicted."""
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    """The columns that it is predicted from, in the order in which the Preprocessor sees them."""

    @property
    def names(self) -> list[str]:
        """The features' names, in order."""
        return [feature.name for feature in self.features]

    def feature(self, name: str) -> Feature | None:
        """The feature of that name, if there is one."""
        return next((feature for feature in self.features if feature.name == name), None)


@dataclass(frozen=True)
class FeatureDraft:
    """`features.yaml` as written: a bare name's type, and what a bare list leaves out, come from the training frame."""

    task: Task | None
    target: str | None
    features: tuple[Feature | str, ...]

    @property
    def names(self) -> list[str]:
        """The features' names, in order."""
        return [feature if isinstance(feature, str) else feature.name for feature in self.features]

    def complete(self) -> FeatureSpec | None:
        """The specification, if nothing has to be taken from the training frame."""
        typed = tuple(feature for feature in self.features if not isinstance(feature, str))
        if self.task is None or self.target is None or len(typed) < len(self.features):
            return None
        return FeatureSpec(task=self.task, target=self.target, features=typed)


def as_utc(moment: datetime) -> datetime:
    """The same moment in UTC; without an offset it is taken as UTC already.

    Raises:
        ValueError: it is before the year 1 or after the year 9999 there.
    """
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} has no equal in UTC") from None
