"""Problems of requests, as RFC 9457 problem details that name the feature and the rule.

No problem repeats a value that was sent, so none can leak personal data, and none tells a path or a stack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ml_microservice.errors import did_you_mean, listed
from ml_microservice.features.request import ID_MAX_LENGTH
from ml_microservice.features.spec import CategoryFeature, Feature, FeatureSpec, VectorFeature

TYPE_PREFIX = "urn:problem-type:"
MAX_ERRORS = 100


class FeatureError(BaseModel):
    """One rule that a request broke."""

    model_config = ConfigDict(defer_build=True)

    pointer: str
    """JSON pointer to the value, as a URI fragment."""
    feature: str | None = None
    """The feature, where it is one."""
    rule: str
    """The rule, as `features.yaml` calls it: `required`, `type`, `min`, `values`, ..."""
    message: str
    """The rule in words."""


class ProblemDetails(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(defer_build=True)

    type: str
    title: str
    status: int
    detail: str
    errors: list[FeatureError] | None = None


@dataclass(eq=False)
class Problem(Exception):
    """A request that is answered with a problem document instead of a prediction."""

    status: int
    """HTTP status."""
    kind: str
    """The last segment of the problem's `type` URI."""
    title: str
    detail: str
    errors: Sequence[FeatureError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The document."""
        errors = [error.model_dump(exclude_none=True) for error in self.errors]
        document = {"type": TYPE_PREFIX + self.kind, "title": self.title, "status": self.status, "detail": self.detail}
        return {**document, "errors": errors} if errors else document


def invalid_request(error: ValidationError, spec: FeatureSpec, id_name: str | None) -> Problem:
    """A row that breaks rules of `features.yaml`, or is not JSON."""
    details = error.errors(include_url=False, include_input=False)
    errors = _distinct([_feature_error(detail, spec, id_name) for detail in details[:MAX_ERRORS]])
    if errors[0].rule == "json":
        return Problem(422, "invalid-json", "The body is not valid JSON", errors[0].message)
    count = "1 rule" if len(errors) == 1 else f"{len(errors)} rules"
    detail = f"The request breaks {count} of the model's features: {'; '.join(e.message for e in errors[:3])}"
    return Problem(422, "invalid-features", "The request is not what the model takes", detail, errors)


def refused_by_model() -> Problem:
    """A row that passed its rules but that the user's code raised ValueError on."""
    detail = "The values keep all rules, but the model cannot answer them; the service's log says why."
    return Problem(422, "refused-by-model", "The model refused this input", detail)


def model_failed() -> Problem:
    """A row on which the user's code failed in some other way."""
    detail = "The model failed on this input; the service's log says why."
    return Problem(500, "model-failed", "The model failed", detail)


def no_api_key() -> Problem:
    """A request without a valid key."""
    detail = "Send one of the service's keys in the header X-API-Key."
    return Problem(401, "no-api-key", "No valid API key", detail, headers={"www-authenticate": "X-API-Key"})


def body_too_large(limit: int) -> Problem:
    """A body beyond the limit, which is not read to its end."""
    detail = f"The body has more than {limit} bytes: split it."
    return Problem(413, "body-too-large", "The body is too large", detail, headers={"connection": "close"})


def too_many_rows(count: int, limit: int) -> Problem:
    """A batch beyond the limit."""
    detail = f"The list has {count} rows, at most {limit} are answered at once: split it."
    return Problem(413, "too-many-rows", "Too many rows", detail)


def not_json() -> Problem:
    """A body of another media type."""
    detail = "Send the header 'Content-Type: application/json'."
    return Problem(415, "unsupported-media-type", "The body must be JSON", detail)


def too_many_requests(limit: int) -> Problem:
    """A request beyond those that may be in work."""
    detail = f"{limit} requests are in work: try again in a second."
    return Problem(429, "too-many-requests", "Too many requests", detail, headers={"retry-after": "1"})


def caller_gone() -> Problem:
    """A request whose caller has hung up: for the metrics alone, since nobody reads it."""
    return Problem(499, "caller-gone", "The caller has hung up", "Nothing was computed.")


def timed_out() -> Problem:
    """A row that waited for longer than its caller may be expected to."""
    detail = "The service is overloaded: the request waited for too long and was not computed."
    return Problem(503, "timed-out", "Timed out", detail, headers={"retry-after": "1"})


def record_not_stored(reason: str) -> Problem:
    """A prediction that may not be given, or feedback that is not taken, because its record cannot be stored."""
    detail = f"Nothing is answered without a record, and none can be stored: {reason}."
    return Problem(503, "record-not-stored", "The record cannot be stored", detail, headers={"retry-after": "5"})


def _distinct(errors: list[FeatureError]) -> list[FeatureError]:
    """The errors without the repetitions that a union of types causes."""
    return list({(error.pointer, error.message): error for error in errors}.values())


def _feature_error(detail: ErrorDetails, spec: FeatureSpec, id_name: str | None) -> FeatureError:
    location = detail["loc"]
    pointer = "#" + "".join(f"/{_escaped(part)}" for part in location)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "json_invalid":
        return FeatureError(pointer="#", rule="json", message=f"Not valid JSON: {context.get('error', detail['msg'])}")
    if not location:
        return FeatureError(pointer=pointer, rule="type", message="a row must be a JSON object of features")
    key = str(location[0])
    if kind == "extra_forbidden":
        known = [*spec.names, *([id_name] if id_name else [])]
        advice = did_you_mean(key, known, f"the features are {listed(known)}")
        return FeatureError(pointer=pointer, rule="unknown", message=f"{key[:100]!r} is not a feature; {advice}")
    if key == id_name:
        message = f"{key} must be text of at most {ID_MAX_LENGTH} characters or a whole number of 64 bits"
        return FeatureError(pointer=f"#/{_escaped(key)}", rule="type", message=message)
    feature = spec.feature(key)
    rule, words = _rule(kind, context, feature) if feature else ("type", detail["msg"])
    element = f"element {location[1]} of " if len(location) > 1 else ""
    return FeatureError(pointer=pointer, feature=key, rule=rule, message=f"{element}{key} {words}")


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _rule(kind: str, context: Mapping[str, Any], feature: Feature) -> tuple[str, str]:
    """The name of a broken rule, and the sentence that follows the feature's name."""
    unit = f" {feature.unit}" if feature.unit else ""
    match kind:
        case "missing":
            return "required", "is required"
        case "greater_than_equal":
            return "min", f"must be at least {_bound(context['ge'])}{unit}"
        case "less_than_equal":
            return "max", f"must be at most {_bound(context['le'])}{unit}"
        case _ if isinstance(feature, CategoryFeature):
            return "values", f"must be one of {listed(map(repr, feature.values))}" + (
                " or null" if feature.optional else ""
            )
        case "string_too_long":
            return "max_length", f"must have at most {context['max_length']} characters"
        case "finite_number":
            return "type", "must be a finite number"
        case "too_short" | "too_long" if isinstance(feature, VectorFeature):
            return "length", f"must have exactly {feature.length} elements"
        case _:
            return "type", f"must be {TYPE_WORDS[feature.type]}" + (" or null" if feature.optional else "")


def _bound(value: Any) -> str:
    return str(value).removesuffix(".0")


TYPE_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "datetime": "a date and time as ISO 8601 text, such as 2026-01-31T12:00:00Z",
    "vector": "a list of numbers",
}
