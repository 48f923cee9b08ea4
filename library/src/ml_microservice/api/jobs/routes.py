"""The routes of jobs, of a service that has a broker for them."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from ml_microservice.api.jobs import endpoints, events, results
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.settings import ApiSettings

TAG = "jobs"


def add_routes(app: FastAPI, facade: JobsFacade, api: ApiSettings) -> None:
    """Serve jobs below `/jobs`."""
    app.state.jobs = facade
    app.state.admin_keys = tuple(key.get_secret_value().encode() for key in api.admin_keys)
    app.state.is_open = not api.keys and not api.admin_keys
    table: list[tuple[str, str, Callable[..., object], str]] = [
        ("POST", "/jobs", endpoints.submit, "Have rows predicted by the workers"),
        ("GET", "/jobs", endpoints.jobs, "All jobs"),
        ("GET", "/jobs/{job_id}", endpoints.job, "How a job is"),
        ("DELETE", "/jobs/{job_id}", endpoints.cancel, "Cancel a job"),
        ("GET", "/jobs/{job_id}/result", results.result, "The result of a job"),
    ]
    for method, path, endpoint, summary in table:
        app.add_api_route(path, endpoint, methods=[method], tags=[TAG], summary=summary, response_model=None)
    app.add_api_route(
        "/jobs/{job_id}/events",
        events.events,
        methods=["GET"],
        tags=[TAG],
        summary="The progress of a job",
        response_class=EventSourceResponse,
    )
