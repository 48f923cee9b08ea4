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

    What may be sent, and what comes back, follows from the model that is served.
    """
    body = await _json_body(request)
    return Response(await core_of(request).predict(body), media_type=JSON)


async def predict_batch(request: Request) -> Response:
    """Answer many rows, in order, in the format that `Accept` asks for: by default, the one that was sent.

    A row that breaks a rule is answered by its own error, and the others all the same. In CSV, Arrow and Parquet, an
    empty field is one that was left out, and a whole number may be written as 5.0. Answers of many rows are sent while
    they are made.
    """
    sent = sent_format(request.headers.get("content-type"))
    wanted = wanted_format(", ".join(request.headers.getlist("accept")), sent)
    answer = await core_of(request).predict_bulk(await request.body(), sent, wanted)
    headers = {f"X-{name.replace('_', '-').title()}": value for name, value in answer.provenance.items()}
    headers["Content-Type"] = answer.media_type
    if answer.is_streamed:
        return StreamingResponse(answer.chunks, headers=headers)
    return Response(await answer.body(), headers=headers)


async def feedback(request: Request) -> Response:
    """Say what became of a prediction, or of many: one object or a list of them, in which each stands for itself.

    It is stored before it is answered, whether or not its prediction has reached the database yet. Said again, it
    changes nothing; said otherwise, what was received last counts, and what was said before is kept.
    """
    body = await _json_body(request)
    return Response(await core_of(request).feedback(body), status_code=202, media_type=JSON)


async def model(request: Request) -> JSONResponse:
    """Version, origin, classes and held-out metrics of the model that is served."""
    return JSONResponse(core_of(request).served.manifest.summary())


async def live() -> JSONResponse:
    """Answers as long as the process does; restart it if it does not."""
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
    """The core of the application that a request came to."""
    core: Any = request.app.state.core
    assert isinstance(core, Core)
    return core


async def _json_body(request: Request) -> bytes:
    """The body of a request that says it is JSON, or says nothing.

    Raises:
        Problem: it says that it is something else.
    """
    if request.headers.get("content-type", JSON).split(";")[0].strip().lower() != JSON:
        raise not_json()
    return await request.body()
