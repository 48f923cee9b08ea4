"""The OpenAPI document: FastAPI's own, completed with the requests and answers of the model that is served."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from ml_microservice.api.inference_protocol import PREFIX
from ml_microservice.api.jobs import openapi as jobs_openapi
from ml_microservice.api.traffic import PROBLEM_TYPE, is_protected
from ml_microservice.features.examples import example_row
from ml_microservice.features.feedback import FeedbackAccepted, build_feedback_list_model
from ml_microservice.features.response import build_batch_response_model, build_response_model
from ml_microservice.inference.bulk_formats import FORMATS
from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import ProblemDetails
from ml_microservice.inference.protocol_json import InferenceRequest, requests
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.monitoring.performance_result import Performance

DESCRIPTION = """
Send a row of features to `POST /predict` and read the prediction. Every rule that a feature has to keep is in the
schema below; a request that breaks one is answered by a problem document (RFC 9457) that names feature and rule.
"""
JOBS = "/jobs"
REFERENCE = "#/components/schemas/"
PROBLEMS = {
    400: "The request is not an inference request of this model.",
    401: "No valid API key.",
    404: "Another model or version is served.",
    413: "The body or the list is too large.",
    415: "The body is of a type that is not taken here.",
    422: "The request breaks a rule of the model's features.",
    429: "Too many requests are in work; `Retry-After` says when to try again.",
    500: "The model or the service failed.",
    503: "The service is overloaded and did not compute this in time, or the prediction's record cannot be stored.",
}


def for_app(app: FastAPI, core: Core, *, secured: bool) -> Callable[[], dict[str, Any]]:
    """A replacement of `app.openapi` that always describes the model that is currently served."""
    made: dict[str, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        version = core.served.manifest.version
        if version not in made:
            made.clear()
            made[version] = _document(app, core.served, secured=secured)
        return made[version]

    return openapi


def _document(app: FastAPI, served: ServedModel, *, secured: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=served.manifest.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    paths = document["paths"]
    spec, classes = served.schema.spec, served.schema.classes
    request = served.request_model
    response = build_response_model(spec, classes, served.id_name)
    batch = build_batch_response_model(spec, classes, served.id_name, ProblemDetails)
    told, told_many = served.feedback_model, build_feedback_list_model(ProblemDetails)
    document["components"] = {
        "schemas": {
            **_schemas(
                request=[request, told],
                answers=[
                    response,
                    batch,
                    FeedbackAccepted,
                    told_many,
                    Performance,
                    ProblemDetails,
                    *jobs_openapi.MODELS,
                ],
            ),
            **_protocol_schemas(),
        }
    }
    example = example_row(spec)
    rows: dict[str, Any] = {"type": "array", "items": {"$ref": f"{REFERENCE}{request.__name__}"}}
    _complete(paths["/predict"]["post"], {"$ref": f"{REFERENCE}{request.__name__}"}, example, response)
    _complete(paths["/predict/batch"]["post"], rows, [example], batch)
    _add_formats(paths["/predict/batch"]["post"], rows["items"])
    _complete_feedback(paths["/feedback"]["post"], told, told_many, classes)
    for path, operations in paths.items():
        for operation in operations.values():
            if path.startswith(PREFIX):
                _document_protocol(operation, is_inference=path.endswith("/infer"), is_ready=path.endswith("/ready"))
                continue
            if path.startswith("/monitoring/"):
                _document_monitoring(operation)
                continue
            if path.startswith(JOBS):
                continue
            is_probe, is_ready = path.startswith(("/health", "/metrics")), path.endswith("/ready")
            _document_answers(operation, has_body="requestBody" in operation, is_probe=is_probe, is_ready=is_ready)
    if JOBS in paths:
        jobs_openapi.document_jobs(paths, REFERENCE, example)
    paths["/monitoring/performance"]["get"]["responses"]["200"] = {
        "description": "The models that answered in the window.",
        "content": {JSON: {"schema": {"$ref": REFERENCE + Performance.__name__}}},
    }
    paths["/monitoring/drift"]["get"]["responses"]["200"] = {
        "description": "What was compared, the farthest off first.",
        "content": {JSON: {"schema": {"$ref": REFERENCE + DriftReport.__name__}}},
    }
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if secured:
        key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        document["components"]["securitySchemes"] = {"ApiKey": key}
        for path in filter(is_protected, paths):
            for operation in paths[path].values():
                operation["security"] = [{"ApiKey": []}]
    return document


def _schemas(request: list[type[BaseModel]], answers: list[type[BaseModel]]) -> dict[str, Any]:
    validated = [(model, "validation") for model in request]
    serialised = [(model, "serialization") for model in answers]
    _, definitions = models_json_schema([*validated, *serialised], ref_template=REFERENCE + "{model}")  # type: ignore[list-item]
    schemas: dict[str, Any] = definitions["$defs"]
    report = TypeAdapter(DriftReport).json_schema(mode="serialization", ref_template=REFERENCE + "{model}")
    return {**schemas, **report.pop("$defs"), DriftReport.__name__: report}


def _protocol_schemas() -> dict[str, Any]:
    """Schemas of an inference request and its parts."""
    schema = requests().json_schema(ref_template=REFERENCE + "{model}")
    definitions: dict[str, Any] = schema.pop("$defs")
    return {**definitions, InferenceRequest.__name__: schema}


def _complete(operation: dict[str, Any], schema: dict[str, Any], example: Any, answer: type[BaseModel]) -> None:
    content = {"application/json": {"schema": schema, "example": example}}
    operation["requestBody"] = {"required": True, "content": content}
    answered = {"application/json": {"schema": {"$ref": REFERENCE + answer.__name__}}}
    operation["responses"] = {"200": {"description": "The prediction.", "content": answered}}


def _complete_feedback(
    operation: dict[str, Any], one: type[BaseModel], many: type[BaseModel], classes: tuple[str, ...]
) -> None:
    """Feedback on one prediction or on a list; the answer has the same form."""
    reference = {"$ref": REFERENCE + one.__name__}
    label: str | float = classes[0] if classes else 1.5
    example = {"prediction_id": "518bccd2-8977-41cb-a830-1aa744f4fb13", "label": label}
    sent = {"anyOf": [reference, {"type": "array", "items": reference}]}
    operation["requestBody"] = {"required": True, "content": {JSON: {"schema": sent, "example": example}}}
    answered = {"anyOf": [{"$ref": REFERENCE + model.__name__} for model in (FeedbackAccepted, many)]}
    taken = {"description": "It is stored.", "content": {JSON: {"schema": answered}}}
    problem = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE + "ProblemDetails"}}}
    operation["responses"] = {"202": taken, "404": {"description": "Nothing is recorded here.", "content": problem}}


def _add_formats(operation: dict[str, Any], row: dict[str, Any]) -> None:
    """Formats of bulk requests and answers besides JSON; OpenAPI can only name them."""
    table = {"type": "string", "format": "binary", "description": "A column for each feature, named after it."}
    optional = "`logged` where `records.when_full` is `serve_unlogged`, and the entity id where one was sent"
    answer = {**table, "description": f"The columns {', '.join(ANSWER_COLUMNS)}, {optional}."}
    lines = {"type": "string", "description": "An object on each line, each as in the JSON list.", "contentSchema": row}
    for format in FORMATS[1:]:
        is_lines = format.media_type.endswith("ndjson")
        operation["requestBody"]["content"][format.media_type] = {"schema": lines if is_lines else table}
        written = {"schema": {"type": "string", "description": lines["description"]} if is_lines else answer}
        operation["responses"]["200"]["content"][format.media_type] = written
    operation["responses"]["200"]["headers"] = {
        f"X-{name}": {"description": words, "schema": {"type": "string"}} for name, words in HEADERS.items()
    }
    content = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE + "ProblemDetails"}}}
    operation["responses"]["406"] = {"description": "No format that is accepted.", "content": content}


ANSWER_COLUMNS = ("prediction", "probability_<class>", "prediction_id", "error")
HEADERS = {
    "Model-Version": "Version of the model that answered.",
    "Model-Id": "UUID of its training run.",
    "Model-Created-At": "When it was trained.",
    "Timestamp": "When the request was answered.",
}


def _document_protocol(operation: dict[str, Any], *, is_inference: bool, is_ready: bool) -> None:
    """Answers of the Open Inference Protocol, which has schemas of its own."""
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    statuses: tuple[int, ...] = (401, 404, 429) if "parameters" in operation else ()
    if is_inference:
        statuses = (400, *statuses, 413, 422, 500)
    if is_inference or is_ready:
        statuses = (*statuses, 503)
    operation["responses"] = {"200": {"description": "As the protocol says.", "content": {JSON: {"schema": {}}}}}
    for status in statuses:
        content = {JSON: {"schema": error}}
        operation["responses"][str(status)] = {"description": PROBLEMS[status], "content": content}
    if is_inference:
        content = {JSON: {"schema": {"$ref": REFERENCE + InferenceRequest.__name__}}}
        operation["requestBody"] = {"required": True, "content": content}


JSON = "application/json"


def _document_monitoring(operation: dict[str, Any]) -> None:
    """Answers that are computed from the database of predictions."""
    for status, words in {401: PROBLEMS[401], 429: PROBLEMS[429], 500: PROBLEMS[500], **NOT_COMPUTED}.items():
        content = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE + "ProblemDetails"}}}
        operation["responses"][str(status)] = {"description": words, "content": content}


NOT_COMPUTED = {
    404: "Predictions are not recorded in a database, or the model has no reference.",
    422: "A parameter cannot be used.",
    503: "It could not be computed; the service's log says why.",
}


def _document_answers(operation: dict[str, Any], *, has_body: bool, is_probe: bool, is_ready: bool) -> None:
    needed: tuple[int, ...] = (401, 413, 415, 422, 429, 500, 503) if has_body else (401, 429, 500)
    if is_probe:
        needed = (503,) if is_ready else ()
    for status in needed:
        content = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE + "ProblemDetails"}}}
        operation["responses"][str(status)] = {"description": PROBLEMS[status], "content": content}
    operation["responses"].pop("422" if not has_body else "", None)
