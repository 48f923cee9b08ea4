"""`GET /jobs/{id}/events`: the progress of a job as server-sent events."""

from collections.abc import AsyncIterable
from typing import Annotated

import orjson
from fastapi import Depends, Request
from fastapi.sse import ServerSentEvent

from ml_microservice.api.jobs.documents import job_document
from ml_microservice.api.jobs.request import JobId, facade_of, found, in_work_of, job_path
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import Job


async def followed(request: Request, job_id: JobId) -> Job:
    """The job to follow, before the answer begins.

    Raises:
        Problem: there is none, or too many callers follow jobs already.
    """
    facade = facade_of(request)
    job = await found(facade, job_id)
    if facade.progress.is_full:
        detail = "Too many callers follow jobs here: ask for the job itself from time to time."
        raise Problem(429, "too-many-requests", "Too many requests", detail, headers={"retry-after": "5"})
    return job


async def events(request: Request, job: Annotated[Job, Depends(followed)]) -> AsyncIterable[ServerSentEvent]:
    """The job's document at once and whenever it changes, as events `progress`; the last one is `finished`.

    Comments keep the connection open meanwhile. If it ends without `finished`, connect again.
    """
    facade, path = facade_of(request), job_path(request, job.job_id)
    told: Job | None = None
    # Whoever waits has no work done, so it does not keep others from having theirs done.
    with in_work_of(request).paused(), facade.progress.following(job.job_id) as following:
        while True:
            if told != job:
                name = "finished" if job.is_finished else "progress"
                yield ServerSentEvent(raw_data=orjson.dumps(job_document(job, path)).decode(), event=name)
                told = job
            if job.is_finished or following.is_over:
                return
            await following.change()
            job = following.job or job
