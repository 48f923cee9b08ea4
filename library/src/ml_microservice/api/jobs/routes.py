"""The route table of jobs, for services with a broker."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from ml_microservice.api.jobs import endpoints, events, results
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.settings import ApiSettings

TAG = "jobs"


def add_routes(app: FastAPI, facade: JobsFacade, api: ApiSettings) -> None:
    """Add the routes below `/jobs`."""
    app.state.jobs = facade
    app.state.admin_keys = tuple(key.get_secret_value().encode() for key in api.admin_keys)
    app.state.is_open = not api.keys and not api.admin_keys
    table: list[tuple[str, str, Callable[..., object], str]] = [
        ("POST", "/jobs", endpoints.submit, "Submit rows for prediction by workers"),
        ("GET", "/jobs", endpoints.jobs, "List all jobs"),
        ("GET", "/jobs/{job_id}", endpoints.job, "Read a job"),
        ("DELETE", "/jobs/{job_id}", endpoints.cancel, "Cancel a job"),
        ("GET", "/jobs/{job_id}/result", results.result, "Read the result of a job"),
    ]
    for method, path, endpoint, summary in table:
        app.add_api_route(path, endpoint, methods=[method], tags=[TAG], summary=summary, response_model=None)
    app.add_api_route(
        "/jobs/{job_id}/events",
        events.events,
        methods=["GET"],
        tags=[TAG],
        summary="Follow the progress of a job",
        response_class=EventSourceResponse,
    )
