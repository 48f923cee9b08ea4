"""The routes of jobs, of a service that has a broker for them."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse

from ml_microservice.api import job_events, job_results, jobs
from ml_microservice.jobs.office import JobOffice
from ml_microservice.settings import ApiSettings

TAG = "jobs"


def add_routes(app: FastAPI, office: JobOffice, api: ApiSettings) -> None:
    """Serve jobs below `/jobs`."""
    app.state.jobs = office
    app.state.admin_keys = tuple(key.get_secret_value().encode() for key in api.admin_keys)
    app.state.is_open = not api.keys and not api.admin_keys
    table: list[tuple[str, str, Callable[..., object], str]] = [
        ("POST", "/jobs", jobs.submit, "Have rows predicted by the workers"),
        ("GET", "/jobs", jobs.jobs, "All jobs"),
        ("GET", "/jobs/{job_id}", jobs.job, "How a job is"),
        ("DELETE", "/jobs/{job_id}", jobs.cancel, "Cancel a job"),
        ("GET", "/jobs/{job_id}/result", job_results.result, "The result of a job"),
    ]
    for method, path, endpoint, summary in table:
        app.add_api_route(path, endpoint, methods=[method], tags=[TAG], summary=summary, response_model=None)
    app.add_api_route(
        "/jobs/{job_id}/events",
        job_events.events,
        methods=["GET"],
        tags=[TAG],
        summary="The progress of a job",
        response_class=EventSourceResponse,
    )
