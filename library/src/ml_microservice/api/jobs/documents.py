"""The documents in which the API describes jobs."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from ml_microservice.inference.problems import ProblemDetails
from ml_microservice.jobs.job import Inserted, Job, JobState


class JobModel(BaseModel):
    """The model that answered a job."""

    model_config = ConfigDict(use_attribute_docstrings=True, protected_namespaces=(), defer_build=True)

    model_version: str
    """Version of the model, the name of its folder."""
    model_id: str
    """UUID of the training run."""
    model_created_at: str
    """Time of the training run: ISO 8601, UTC."""


class JobWebhook(BaseModel):
    """The delivery of the webhook to `Webhook-Url`."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    state: str
    """`pending`, `delivered` or `failed`."""
    attempts: int
    """How often the webhook was sent."""


class JobLinks(BaseModel):
    """Paths of related resources."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    self: str
    """This document."""
    result: str
    """The result, once the job has succeeded."""
    events: str
    """Its progress, as server-sent events."""


class JobDocument(BaseModel):
    """A job. Fields that are not known yet are left out."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    job_id: str
    """UUID of the job."""
    state: JobState
    """State of the job. It fails as a whole if one of its chunks fails."""
    media_type: str
    """Format of the body, and of the result unless `Accept` asks for another."""
    rows: int
    """Number of rows."""
    rows_done: int
    """Number of answered rows."""
    rows_failed: int
    """Number of rows that were answered by a problem of their own."""
    attempts: int
    """Highest number of attempts of any chunk: more than 1 if a worker was lost."""
    created_at: str
    """When the job was accepted: ISO 8601, UTC."""
    started_at: str | None = None
    """When a worker started the first chunk."""
    finished_at: str | None = None
    """When the job succeeded, failed or was cancelled."""
    expires_at: str | None = None
    """When the job and its result are deleted."""
    model: JobModel | None = None
    """The model that answered the first rows, if the job has succeeded."""
    problem: ProblemDetails | None = None
    """Why the job failed."""
    webhook: JobWebhook | None = None
    """Delivery of the webhook, if one was requested."""
    links: JobLinks


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    jobs: list[JobDocument]
    next: str | None = None
    """Path of the next page, if there may be one."""


def job_document(job: Job, path: str, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document of a job.

    Args:
        job: the job.
        path: the path of the document.
        provenance: the model that answered, if known.
    """
    webhook = None
    if job.webhook_state is not None:
        webhook = {"state": job.webhook_state, "attempts": job.webhook_attempts}
    document = {
        "job_id": job.job_id,
        "state": job.state,
        "media_type": job.media_type,
        "rows": job.rows,
        "rows_done": job.rows_done,
        "rows_failed": job.rows_failed,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": job.expires_at,
        "model": None if provenance is None else {name: provenance[name] for name in JobModel.model_fields},
        "problem": job.problem,
        "webhook": webhook,
        "links": _links(path),
    }
    return {name: value for name, value in document.items() if value is not None}


def new_job_document(inserted: Inserted, media_type: str, rows: int, *, has_webhook: bool, path: str) -> dict[str, Any]:
    """The document of a job that was just stored, equal to that of `job_document`."""
    return {
        "job_id": inserted.job_id,
        "state": "queued",
        "media_type": media_type,
        "rows": rows,
        "rows_done": 0,
        "rows_failed": 0,
        "attempts": 0,
        "created_at": inserted.created_at,
        **({"webhook": {"state": "pending", "attempts": 0}} if has_webhook else {}),
        "links": _links(path),
    }


def _links(path: str) -> dict[str, str]:
    return {"self": path, "result": f"{path}/result", "events": f"{path}/events"}
