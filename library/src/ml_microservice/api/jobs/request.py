"""What the endpoints of jobs read from a request: the job of its path, its keys, its `Accept`."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request

from ml_microservice.api.traffic import ApiKeys, InWork, is_key
from ml_microservice.inference.problems import Problem, no_api_key
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.jobs.job import Job

JobId = Annotated[str, Path(description="UUID of the job, from the answer to `POST /jobs`.")]


async def find_job(facade: JobsFacade, job_id: str) -> Job:
    """Find the job with an id.

    Raises:
        Problem: there is no such job, or none any more, or the database does not answer.
    """
    known = valid_id(job_id)
    job = await facade.store.call_async(lambda store: store.job(known))
    if job is None:
        raise no_such_job()
    return job


def valid_id(job_id: str) -> str:
    """Normalise an id to the database's spelling.

    Raises:
        Problem: no job can have this id.
    """
    try:
        known = str(UUID(job_id))
    except ValueError:
        raise no_such_job() from None
    if known != job_id.lower():
        raise no_such_job()
    return known


def no_such_job() -> Problem:
    """The problem for an id that no job has, or none any more."""
    detail = "There is no job with this id: it never existed, or it has expired."
    return Problem(404, "no-such-job", "No such job", detail)


def require_admin(request: Request) -> None:
    """Require an admin key, if the service has keys.

    Raises:
        Problem: the request has no admin key.
    """
    admin_keys, is_open = request.app.state.admin_keys, request.app.state.is_open
    sent = request.headers.get(ApiKeys.HEADER.decode(), "").encode("latin-1")
    if is_open or is_key(sent, admin_keys):
        return
    if not sent:
        raise no_api_key()
    detail = "This needs one of the service's admin keys (SERVICE__API__ADMIN_KEYS) in the header X-API-Key."
    raise Problem(403, "no-admin-key", "No admin key", detail)


def facade_of(request: Request) -> JobsFacade:
    """The jobs of the application that received a request."""
    facade: Any = request.app.state.jobs
    assert isinstance(facade, JobsFacade)
    return facade


def in_work_of(request: Request) -> InWork:
    """The counter of running requests of the application that received a request."""
    in_work: Any = request.app.state.in_work
    assert isinstance(in_work, InWork)
    return in_work


def job_path(request: Request, job_id: str) -> str:
    """The path of a job, with the prefix under which the service is reached."""
    return f"{request.scope.get('root_path', '')}/jobs/{job_id}"


def accept_of(request: Request) -> str:
    """The value of `Accept`. Several such headers are joined."""
    return ", ".join(request.headers.getlist("accept"))
