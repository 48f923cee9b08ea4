"""The routes: each reads a request, asks the core, and wraps its answer."""

from typing import Any

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ml_microservice.api.metrics import exposition
from ml_microservice.api.monitoring import monitoring_of
from ml_microservice.api.negotiation import sent_format, wanted_format
from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import not_json

JSON = "application/json"


async def predict(request: Request) -> Response:
    """Answer one row of features with a prediction.

    The fields of the request and of the answer follow from the model that is served.
    """
    body = await _json_body(request)
    return Response(await core_of(request).predict(body), media_type=JSON)


async def predict_batch(request: Request) -> Response:
    """Answer many rows, in order, in the format that `Accept` asks for: by default, the one that was sent.

    A row that breaks a rule is answered with an error of its own; the others are answered with predictions. In CSV,
    Arrow and Parquet, an empty field counts as left out, and a whole number may be written as 5.0. The answer to many
    rows is streamed.
    """
    sent = sent_format(request.headers.get("content-type"))
    wanted = wanted_format(", ".join(request.headers.getlist("accept")), sent)
    answer = await core_of(request).predict_bulk(await request.body(), sent, wanted)
    headers = {f"X-{name.replace('_', '-').title()}": value for name, value in answer.provenance.items()}
    headers["Content-Type"] = answer.media_type
    if answer.is_streamed:
        return StreamingResponse(answer.content, headers=headers)
    return Response(await answer.body(), headers=headers)


async def feedback(request: Request) -> Response:
    """Send the true label of a prediction, or of many: one object, or a list whose entries succeed or fail one by one.

    Feedback is stored before the request is answered, whether or not its prediction has reached the database yet.
    Repeating it changes nothing; of different labels the last one received counts, and all are kept.
    """
    body = await _json_body(request)
    return Response(await core_of(request).feedback(body), status_code=202, media_type=JSON)


async def model(request: Request) -> JSONResponse:
    """Version, origin, classes and held-out metrics of the model that is served."""
    return JSONResponse(core_of(request).served.manifest.summary())


async def live() -> JSONResponse:
    """Answers 200 as long as the process works; restart it if it does not."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> JSONResponse:
    """Answers 200 once a model is loaded, verified and warm; send traffic only then.

    Answers 503 while predictions are refused because their records cannot be stored.
    """
    core_of(request).check()
    return JSONResponse({"status": "ready", "model_version": core_of(request).served.manifest.version})


async def metrics(request: Request) -> Response:
    """Requests, latencies, predictions by class, records, jobs and the model served, of all processes together."""
    state = request.app.state
    body, content_type = await to_thread.run_sync(exposition, state.records_metrics, state.jobs_metrics)
    body += await monitoring_of(request).exposition()
    return Response(body, headers={"content-type": content_type})


def core_of(request: Request) -> Core:
    """The core of the application that received a request."""
    core: Any = request.app.state.core
    assert isinstance(core, Core)
    return core


async def _json_body(request: Request) -> bytes:
    """The body of a request whose content type is JSON or missing.

    Raises:
        Problem: the content type is another.
    """
    if request.headers.get("content-type", JSON).split(";")[0].strip().lower() != JSON:
        raise not_json()
    return await request.body()
