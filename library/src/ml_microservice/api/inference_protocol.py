"""The Open Inference Protocol over HTTP: `/v2/...`, for the clients of Triton, KServe and MLServer."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from ml_microservice.api.routes import core_of
from ml_microservice.inference.protocol import check_model, model_metadata, server_metadata
from ml_microservice.inference.protocol_json import InferenceBody, infer_json
from ml_microservice.inference.tensors import malformed

PREFIX = "/v2"
HEADER_LENGTH = "Inference-Header-Content-Length"
TAG = "open inference protocol"


def add_routes(app: FastAPI) -> None:
    """Add the routes of the protocol."""
    model, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    table: list[tuple[str, str, Any, str]] = [
        ("GET", "/v2", server, "The server and the extensions it knows"),
        ("GET", "/v2/health/live", live, "Is the server alive?"),
        ("GET", "/v2/health/ready", ready, "Can the server answer?"),
        ("GET", model, metadata, "Inputs and outputs of the model"),
        ("GET", f"{model}/ready", model_ready, "Can the model answer?"),
        ("POST", f"{model}/infer", infer_rows, "Predict the rows of tensors"),
        ("GET", version, metadata, "Inputs and outputs of a version"),
        ("GET", f"{version}/ready", model_ready, "Can the version answer?"),
        ("POST", f"{version}/infer", infer_rows, "Predict by a version"),
    ]
    for method, path, endpoint, summary in table:
        operation = f"{endpoint.__name__}{'_of_version' if path.startswith(version) else ''}"
        app.add_api_route(path, endpoint, methods=[method], tags=[TAG], summary=summary, operation_id=f"v2_{operation}")


async def server(request: Request) -> JSONResponse:
    """Name, version and extensions of the server."""
    return JSONResponse(server_metadata(_name(request), core_of(request).served.manifest.version))


async def live() -> JSONResponse:
    """Answers as long as the process does."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> JSONResponse:
    """Answers once a model is loaded, verified and warm; 503 while predictions are refused."""
    core_of(request).check()
    return JSONResponse({"ready": True})


async def metadata(request: Request, name: str, version: str | None = None) -> JSONResponse:
    """Every feature is an input, named after it."""
    _check_model(request, name, version)
    return JSONResponse(model_metadata(core_of(request).served))


async def model_ready(request: Request, name: str, version: str | None = None) -> JSONResponse:
    """Answers once the model is loaded, verified and warm; 503 while predictions are refused."""
    _check_model(request, name, version)
    core_of(request).check()
    return JSONResponse({"name": name, "ready": True})


async def infer_rows(request: Request, name: str, version: str | None = None) -> Response:
    """Predict one or many rows, which all have to be valid.

    Tensors come and go as JSON, or as bytes behind the JSON document (the protocol's binary tensor data extension).
    """
    _check_model(request, name, version)
    length = header_length(request.headers.get(HEADER_LENGTH))
    answer = await infer_json(core_of(request), await request.body(), length)
    return Response(answer.body, headers=answer_headers(answer))


def header_length(sent: str | None) -> int | None:
    """The length of the JSON document that the body starts with; None where that is all of it.

    Raises:
        Problem: what was sent is not a number.
    """
    if sent is None:
        return None
    if not (sent.isascii() and sent.isdigit()):
        raise malformed(f"{HEADER_LENGTH} is not a number")
    return int(sent[:18])


def answer_headers(answer: InferenceBody) -> dict[str, str]:
    """The headers of an answer, which say where its JSON document ends."""
    if answer.header_length is None:
        return {"content-type": "application/json"}
    return {"content-type": "application/octet-stream", HEADER_LENGTH.lower(): str(answer.header_length)}


def _check_model(request: Request, name: str, version: str | None) -> None:
    check_model(core_of(request).served, name, version)


def _name(request: Request) -> str:
    """The model's name is the project's."""
    return core_of(request).served.manifest.project
