"""The endpoints of jobs in the OpenAPI document."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from ml_microservice.api.jobs.documents import JobDocument, JobPage
from ml_microservice.api.traffic import PROBLEM_TYPE

JSON = "application/json"
MODELS = (JobDocument, JobPage)
"""Models whose schemas the document needs."""
PROBLEMS = {
    401: "No valid API key.",
    403: "The key is not an admin key.",
    404: "There is no such job, or it has expired.",
    406: "The service offers no format that `Accept` allows.",
    409: "The job is not finished: `Retry-After` says when to try again.",
    410: "The job was cancelled.",
    413: "The body is too large.",
    415: "The media type of the body is not supported.",
    416: "The requested rows do not exist.",
    422: "A parameter, a header or the body is not valid; or the job failed because of its body.",
    429: "The queue is full, or too many requests are running; `Retry-After` says when to try again.",
    500: "The service failed; or the job failed, and this is its problem.",
    503: "The database, the storage or the disk does not answer; or the job failed, and this is its problem.",
}
LINK = {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}
CREATED = {
    "Location": {"description": "Path of the job.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` if the job existed already.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def document_jobs(paths: dict[str, Any], reference: str, example: Mapping[str, Any]) -> None:
    """Complete the operations below `/jobs`, from those of `/predict` and `/predict/batch`.

    Args:
        paths: the document's paths.
        reference: the prefix of references to schemas.
        example: an example row.
    """
    batch, one = paths["/predict/batch"]["post"], paths["/predict"]["post"]
    whole = _result("The result.", one, batch)
    submitted = paths["/jobs"]["post"]
    row = one["requestBody"]["content"][JSON]["schema"]
    rows = batch["requestBody"]["content"]
    json_body = {
        "schema": {"anyOf": [row, rows[JSON]["schema"]]},
        "examples": {"one": {"value": dict(example)}, "many": {"value": [dict(example)]}},
    }
    submitted["requestBody"] = {"required": True, "content": {**deepcopy(rows), JSON: json_body}}
    document, page = ({JSON: {"schema": {"$ref": reference + model.__name__}}} for model in MODELS)
    accepted = {"description": "The job is stored and will run.", "content": document, "headers": CREATED}
    _answers(submitted, {"200": whole, "202": accepted}, (401, 406, 410, 413, 415, 422, 429, 500, 503), reference)
    submitted["responses"]["200"]["description"] = "The result, if it is ready in time: only with `wait`."

    all_jobs = {"description": "A page of jobs, newest first.", "content": page, "headers": LINK}
    _answers(paths["/jobs"]["get"], {"200": all_jobs}, (401, 403, 422, 429, 500, 503), reference)

    single = paths["/jobs/{job_id}"]
    described = {"description": "The job.", "content": document}
    _answers(single["get"], {"200": described}, (401, 404, 429, 500, 503), reference)
    cancelled = {"description": "The job is cancelled.", "content": document}
    _answers(single["delete"], {"200": cancelled}, (401, 404, 409, 429, 500, 503), reference)
    single["delete"]["responses"]["409"]["description"] = "The job is finished."

    part = _result("The rows of the header `Range`.", one, batch)
    part["headers"]["Content-Range"] = {"description": "`rows 0-99/500`", "schema": {"type": "string"}}
    whole["headers"] |= LINK
    problems = (401, 404, 406, 409, 410, 416, 422, 429, 500, 503)
    _answers(paths["/jobs/{job_id}/result"]["get"], {"200": whole, "206": part}, problems, reference)

    job = {"type": "string", "contentMediaType": JSON, "contentSchema": document[JSON]["schema"]}
    event = {
        "type": "object",
        "description": "An event of the stream. Comments may come in between.",
        "required": ["event", "data"],
        "properties": {"event": {"type": "string", "enum": ["progress", "finished"]}, "data": job},
    }
    stream = {
        "description": "A stream that ends with the job.",
        "content": {"text/event-stream": {"schema": event}},
    }
    _answers(paths["/jobs/{job_id}/events"]["get"], {"200": stream}, (401, 404, 429, 500, 503), reference)


def _result(description: str, one: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with rows in any format. In JSON it is that of a single object or of many."""
    answer: dict[str, Any] = deepcopy(batch["responses"]["200"])
    single = one["responses"]["200"]["content"][JSON]["schema"]
    answer["content"][JSON]["schema"] = {"anyOf": [single, answer["content"][JSON]["schema"]]}
    return {**answer, "description": description}


def _answers(operation: dict[str, Any], answers: Mapping[str, Any], problems: Iterable[int], reference: str) -> None:
    content = {PROBLEM_TYPE: {"schema": {"$ref": reference + "ProblemDetails"}}}
    operation["responses"] = deepcopy(dict(answers)) | {
        str(status): {"description": PROBLEMS[status], "content": content} for status in problems
    }
