"""The FastAPI application: its parts and its route table."""

import gc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ml_microservice.api import (
    docs,
    drift,
    errors,
    inference_protocol,
    metrics,
    openapi,
    performance,
    routes,
)
from ml_microservice.api.grpc.port import require_grpc
from ml_microservice.api.hot_route import HotEndpoint, HotInfer, HotPredict, HotRoute
from ml_microservice.api.jobs import routes as job_routes
from ml_microservice.api.jobs.hot_submit import HotSubmit
from ml_microservice.api.jobs_metrics import JobsMetrics
from ml_microservice.api.monitoring import Monitoring
from ml_microservice.api.records_metrics import RecordsMetrics
from ml_microservice.api.traffic import ApiKeys, BodyLimit, ConcurrencyLimit, InWork
from ml_microservice.api.vitals import vital_signs
from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.served_model import ReadModel, read_configured_model
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.records.journal import Journal
from ml_microservice.records.recorder import Recorder
from ml_microservice.settings import ApiSettings, Settings, load_settings
from ml_microservice.tracing.startup import open_tracer

if TYPE_CHECKING:
    from ml_microservice.tracing.tracer import Tracer

ON_STOPPING = "on_stopping"
"""Key of the lifespan's state: the function that the server calls when it begins to stop, before it waits for
requests."""


def create_app(settings: Settings | None = None, model: ReadModel | None = None) -> ASGIApp:
    """The service of the project in the current folder, with its model loaded.

    Args:
        settings: those of the current folder by default.
        model: the result of `read_configured_model`, if the model was read before this process was forked.

    Raises:
        ServiceError: the configuration or the model cannot be used.
    """
    settings = settings or load_settings()
    tracer = open_tracer(settings)
    app = create_api(settings, model, tracer)
    core, api = app.state.core, settings.api
    endpoints: list[HotEndpoint] = [HotPredict(core), HotInfer(core)]
    if settings.jobs.broker:
        endpoints.append(HotSubmit(core, app.state.jobs))
    in_work = app.state.in_work
    hot = HotRoute(app, endpoints, in_work=in_work, keys=api.opening_keys, max_body_bytes=api.max_body_bytes)
    if tracer is None:
        return hot
    # Needs the extra `tracing`.
    from ml_microservice.api.traces import RequestSpans

    return RequestSpans(hot, endpoints, tracer)


def create_api(settings: Settings, model: ReadModel | None = None, tracer: "Tracer | None" = None) -> FastAPI:
    """The application without the hot route.

    Raises:
        ServiceError: the configuration or the model cannot be used.
    """
    require_grpc(settings.api)
    served = (model or read_configured_model(settings)).proved()
    journal = recorder = None
    if settings.records.sinks:
        journal = Journal(settings.records_directory, settings.name, settings.records, metrics.count_records)
        recorder = Recorder(journal, settings.records, metrics.count_unlogged)
    core = Core(
        served, settings.api, observers=[metrics.count_predictions], recorder=recorder, is_traced=tracer is not None
    )
    in_work = InWork(settings.api.max_concurrency)
    jobs = JobsFacade(settings) if settings.jobs.broker else None
    app = FastAPI(
        title=settings.title or settings.name,
        summary=settings.description,
        description=openapi.DESCRIPTION,
        version=served.manifest.version,
        middleware=_middleware(settings, in_work),
        lifespan=_lifespan(settings.api, core, journal, in_work, jobs, tracer),
        # FastAPI's own spans and logs would carry queries and what exceptions say, and know nothing of the hot route.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: errors.problem_handler,
            HTTPException: errors.http_error_handler,
            RequestValidationError: errors.validation_error_handler,
            Exception: errors.unexpected_error_handler,
        },
    )
    app.state.core, app.state.in_work = core, in_work
    app.state.journal = journal
    app.state.records_metrics = RecordsMetrics(settings) if settings.records.sinks else None
    app.state.jobs_metrics = JobsMetrics(settings) if settings.jobs.broker else None
    app.state.monitoring = Monitoring(settings, [performance.watched(settings), *drift.watched(settings, served)])
    _add_routes(app)
    if jobs is not None:
        job_routes.add_routes(app, jobs, settings.api)
    docs.add_docs(app)
    app.openapi = openapi.for_app(app, core, secured=bool(settings.api.keys))  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI) -> None:
    table: list[tuple[str, str, Callable[..., object], str, str]] = [
        ("POST", "/predict", routes.predict, "prediction", "Predict one row"),
        ("POST", "/predict/batch", routes.predict_batch, "prediction", "Predict many rows"),
        ("POST", "/feedback", routes.feedback, "feedback", "Send the true labels of predictions"),
        ("GET", "/model", routes.model, "model", "The model that is served"),
        ("GET", "/monitoring/performance", performance.performance, "monitoring", "Accuracy of the model in service"),
        ("GET", "/monitoring/drift", drift.drift, "monitoring", "Drift since training"),
        ("GET", "/health/live", routes.live, "operation", "Is the process alive?"),
        ("GET", "/health/ready", routes.ready, "operation", "Is a model loaded and can it answer?"),
        ("GET", "/metrics", routes.metrics, "operation", "Prometheus metrics"),
    ]
    for method, path, endpoint, tag, summary in table:
        app.add_api_route(path, endpoint, methods=[method], tags=[tag], summary=summary)
    inference_protocol.add_routes(app)


def _middleware(settings: Settings, in_work: InWork) -> list[Middleware]:
    """The middleware, outermost first."""
    api = settings.api
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(api.cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Location", "Link", "Content-Range", "Retry-After"],
    )
    return [
        Middleware(metrics.RequestMetrics),
        *([cors] if api.cors_origins else []),
        Middleware(ConcurrencyLimit, in_work=in_work),
        Middleware(ApiKeys, keys=api.opening_keys),
        Middleware(BodyLimit, limit=api.max_body_bytes),
    ]


def _lifespan(
    api: ApiSettings,
    core: Core,
    journal: Journal | None,
    in_work: InWork,
    jobs: JobsFacade | None,
    tracer: "Tracer | None",
) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        metrics.announce_model(core.served)
        # What is loaded stays: collecting garbage among it would stop the service for tenths of seconds each time.
        gc.freeze()
        gc.enable()
        # A journal belongs to one process, so it is opened here, where no process is forked any more.
        if journal is not None:
            journal.open()
        try:
            async with vital_signs(core, in_work), _grpc(api, core, in_work):
                yield {ON_STOPPING: jobs.progress.stop} if jobs is not None else {}
        finally:
            if jobs is not None:
                await to_thread.run_sync(jobs.close)
            if journal is not None:
                journal.close()
            await app.state.monitoring.close()
            # Last: if time runs out before it, only spans are lost.
            if tracer is not None:
                await to_thread.run_sync(tracer.close)
            gc.unfreeze()

    return lifespan


def _grpc(api: ApiSettings, core: Core, in_work: InWork) -> AbstractAsyncContextManager[None]:
    """The gRPC server, if a port is set."""
    if api.grpc_port is None:
        return nullcontext()
    # Needs the extra `grpc`.
    from ml_microservice.api.grpc.server import serving

    return serving(api, core, in_work)
