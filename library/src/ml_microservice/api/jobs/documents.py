"""What the API tells of a job."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from ml_microservice.inference.problems import ProblemDetails
from ml_microservice.jobs.job import Inserted, Job, JobState


class JobModel(BaseModel):
    """The model of a job that answered it."""

    model_config = ConfigDict(use_attribute_docstrings=True, protected_namespaces=(), defer_build=True)

    model_version: str
    """Version of the model, the name of its folder."""
    model_id: str
    """UUID of the training run."""
    model_created_at: str
    """When the model was trained: ISO 8601, UTC."""


class JobWebhook(BaseModel):
    """What became of the message to `Webhook-Url`."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    state: str
    """`pending`, `delivered` or `failed`."""
    attempts: int
    """How often it was sent."""


class JobLinks(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    self: str
    """This document."""
    result: str
    """The result, once the job has succeeded."""
    events: str
    """Its progress, as server-sent events."""


class JobDocument(BaseModel):
    """A job. What is not known yet is left out."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    job_id: str
    """UUID of the job."""
    state: JobState
    """A job of which a part has failed has failed."""
    media_type: str
    """Format of the body, and of the result unless `Accept` asks for another."""
    rows: int
    """How many there are."""
    rows_done: int
    """How many of them are answered."""
    rows_failed: int
    """How many of those are answered by a problem of their own."""
    attempts: int
    """How often the part was begun that was begun most often: more than 1 if a worker was lost."""
    created_at: str
    """When it was taken: ISO 8601, UTC."""
    started_at: str | None = None
    """When a worker first began with it."""
    finished_at: str | None = None
    """When it had succeeded or failed, or was cancelled."""
    expires_at: str | None = None
    """When it is deleted, with its result."""
    model: JobModel | None = None
    """The model that answered the first rows, of a job that has succeeded."""
    problem: ProblemDetails | None = None
    """Why it has failed."""
    webhook: JobWebhook | None = None
    """Where one was asked for."""
    links: JobLinks


class JobPage(BaseModel):
    """Some jobs, newest first."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    jobs: list[JobDocument]
    next: str | None = None
    """The next page, if there may be one."""


def job_document(job: Job, path: str, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document of a job.

    Args:
        job: as it is now.
        path: of the document itself.
        provenance: which model answered, if it is known.
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
    """The document of a job that was stored this moment, as `job_document` would have it."""
    return {
        **{"job_id": inserted.job_id, "state": "queued", "media_type": media_type},
        **{"rows": rows, "rows_done": 0, "rows_failed": 0, "attempts": 0, "created_at": inserted.created_at},
        **({"webhook": {"state": "pending", "attempts": 0}} if has_webhook else {}),
        "links": _links(path),
    }


def _links(path: str) -> dict[str, str]:
    return {"self": path, "result": f"{path}/result", "events": f"{path}/events"}
