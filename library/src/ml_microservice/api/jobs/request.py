"""What the routes of jobs share: finding the job that a path names, and who may see all of them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request

from ml_microservice.api.traffic import ApiKeys, InWork, is_key
from ml_microservice.inference.problems import Problem, no_api_key
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.jobs.job import Job

JobId = Annotated[str, Path(description="As `POST /jobs` answered it: a UUID.")]


async def found(facade: JobsFacade, job_id: str) -> Job:
    """The job of an id.

    Raises:
        Problem: there is none (any more), or the database does not answer.
    """
    known = valid_id(job_id)
    job = await facade.store.call_async(lambda store: store.job(known))
    if job is None:
        raise no_such_job()
    return job


def valid_id(job_id: str) -> str:
    """An id as the database has it.

    Raises:
        Problem: no job can have it.
    """
    try:
        known = str(UUID(job_id))
    except ValueError:
        raise no_such_job() from None
    if known != job_id.lower():
        raise no_such_job()
    return known


def no_such_job() -> Problem:
    """An id that no job has, or none any more."""
    detail = "There is no job of this id: it never was one, or it has expired."
    return Problem(404, "no-such-job", "No such job", detail)


def require_admin(request: Request) -> None:
    """See that a caller may see what all others do: with an admin key, wherever keys are set.

    Raises:
        Problem: it may not.
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
    """The jobs of the application that a request came to."""
    facade: Any = request.app.state.jobs
    assert isinstance(facade, JobsFacade)
    return facade


def in_work_of(request: Request) -> InWork:
    """What counts the requests in work of the application that a request came to."""
    in_work: Any = request.app.state.in_work
    assert isinstance(in_work, InWork)
    return in_work


def job_path(request: Request, job_id: str) -> str:
    """The path of a job, behind whatever prefix the service has."""
    return f"{request.scope.get('root_path', '')}/jobs/{job_id}"


def accept_of(request: Request) -> str:
    """The header `Accept`, of which there may be several."""
    return ", ".join(request.headers.getlist("accept"))
