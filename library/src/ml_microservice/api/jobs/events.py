"""`GET /jobs/{id}/events`: the progress of a job as server-sent events."""

from collections.abc import AsyncIterable
from typing import Annotated

import orjson
from fastapi import Depends, Request
from fastapi.sse import ServerSentEvent

from ml_microservice.api.jobs.documents import job_document
from ml_microservice.api.jobs.request import JobId, facade_of, find_job, in_work_of, job_path
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import Job


async def job_to_follow(request: Request, job_id: JobId) -> Job:
    """Find the job before the answer begins.

    Raises:
        Problem: there is no such job, or too many callers follow jobs.
    """
    facade = facade_of(request)
    job = await find_job(facade, job_id)
    if facade.progress.is_full:
        detail = "Too many callers follow jobs: poll the job instead."
        raise Problem(429, "too-many-requests", "Too many requests", detail, headers={"retry-after": "5"})
    return job


async def events(request: Request, job: Annotated[Job, Depends(job_to_follow)]) -> AsyncIterable[ServerSentEvent]:
    """Send the job's document at once and whenever it changes, as events `progress`; the last event is `finished`.

    Comments keep the connection open. If the connection ends without `finished`, connect again.
    """
    facade, path = facade_of(request), job_path(request, job.job_id)
    sent: Job | None = None
    # A waiting request does not count as running, so it never blocks others.
    with in_work_of(request).paused(), facade.progress.subscription(job.job_id) as subscription:
        while True:
            if sent != job:
                name = "finished" if job.is_finished else "progress"
                yield ServerSentEvent(raw_data=orjson.dumps(job_document(job, path)).decode(), event=name)
                sent = job
            if job.is_finished or subscription.is_over:
                return
            await subscription.wait()
            job = subscription.job or job
