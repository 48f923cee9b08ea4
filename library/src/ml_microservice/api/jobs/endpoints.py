"""`/jobs` and `/jobs/{id}`: submit, list, read and cancel jobs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from ml_microservice.api.jobs.documents import job_document, new_job_document
from ml_microservice.api.jobs.request import (
    JobId,
    accept_of,
    facade_of,
    find_job,
    in_work_of,
    job_path,
    no_such_job,
    require_admin,
    valid_id,
)
from ml_microservice.api.jobs.results import finished_response
from ml_microservice.api.negotiation import sent_format, wanted_format
from ml_microservice.api.routes import core_of
from ml_microservice.inference.problems import Problem, caller_gone
from ml_microservice.jobs.job import JobState
from ml_microservice.jobs.submission.body import Submission
from ml_microservice.jobs.webhooks.url import check_url

LONGEST_WAIT_SECONDS = 60
Wait = Annotated[
    int,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait for the result. If it is ready in time, it is the answer.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="1 to 255 visible characters that you choose. Submissions with the same key are one job.",
    ),
]
WebhookUrl = Annotated[
    str | None, Header(alias="Webhook-Url", description="URL that gets a signed webhook when the job is finished.")
]
State = Annotated[JobState | None, Query(description="Only jobs in this state.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most jobs of the page.")]
Before = Annotated[str | None, Query(description="Position from the link to the next page.", max_length=100)]


async def submit(
    request: Request, wait: Wait = 0, idempotency_key: IdempotencyKey = None, webhook_url: WebhookUrl = None
) -> Response:
    """Submit one row or many for prediction by workers. The answer comes once the job is stored durably.

    The body is that of `/predict` or `/predict/batch`, with up to `jobs.max_body_bytes`, or `api.max_body_bytes` for
    JSON.
    With `wait`, the answer is the result if the job finishes in time, or its problem if it fails in time.
    """
    facade, sent = facade_of(request), sent_format(request.headers.get("content-type"))
    if wait:
        wanted_format(accept_of(request), sent)  # refused before the job is stored
    if webhook_url is not None:
        await to_thread.run_sync(check_url, webhook_url, facade.settings)
    length = request.headers.get("content-length", "0")
    submission = Submission(
        body=_blocks(request),
        media_type=sent.media_type,
        content_length=int(length) if length.isdecimal() else 0,
        idempotency_key=idempotency_key,
        webhook_url=webhook_url,
    )
    submitted = await facade.submitter.submit(submission, core_of(request).served)
    job_id, is_new = submitted.inserted.job_id, submitted.inserted.is_new
    path = job_path(request, job_id)
    headers = {"Location": path} | ({} if is_new else {"Idempotency-Replayed": "true"})
    if wait and not facade.progress.is_full:
        # A waiting request does not count as running, so it never blocks others.
        with in_work_of(request).paused():
            job = await facade.progress.finished(job_id, wait)
        if job is not None:
            return await finished_response(request, facade, job, headers)
    if not is_new:
        return JSONResponse(job_document(await find_job(facade, job_id), path), 202, headers)
    has_webhook = webhook_url is not None
    document = new_job_document(submitted.inserted, sent.media_type, submitted.rows, has_webhook=has_webhook, path=path)
    return JSONResponse(document, 202, headers)


async def job(request: Request, job_id: JobId) -> JSONResponse:
    """Read a job: its state, its progress in rows, its times, and why it failed."""
    facade = facade_of(request)
    job = await find_job(facade, job_id)
    provenance = await facade.results.provenance(job) if job.state == "succeeded" else None
    return JSONResponse(job_document(job, job_path(request, job.job_id), provenance))


async def cancel(request: Request, job_id: JobId) -> JSONResponse:
    """Cancel a job: queued chunks never start, and running ones stop within seconds. This is idempotent."""
    facade, known = facade_of(request), valid_id(job_id)
    job = await facade.store.call_async(lambda store: store.cancel(known))
    if job is None:
        raise no_such_job()
    if job.state != "cancelled":
        detail = f"The job has {job.state} already: it is kept until it expires."
        raise Problem(409, "job-finished", "The job is finished", detail)
    return JSONResponse(job_document(job, job_path(request, job.job_id)))


async def jobs(request: Request, state: State = None, limit: Limit = 100, before: Before = None) -> JSONResponse:
    """List all jobs, newest first. If the service has keys, this needs an admin key."""
    require_admin(request)
    facade, position = facade_of(request), _position(before)
    page = await facade.store.call_async(lambda store: store.jobs(state, position, limit))
    document: dict[str, Any] = {"jobs": [job_document(job, job_path(request, job.job_id)) for job in page]}
    if len(page) < limit:
        return JSONResponse(document)
    query: dict[str, Any] = {"limit": limit, "before": f"{page[-1].created_at}~{page[-1].job_id}"}
    next_page = f"{job_path(request, '')[:-1]}?{urlencode(query | ({'state': state} if state else {}))}"
    return JSONResponse({**document, "next": next_page}, headers={"Link": f'<{next_page}>; rel="next"'})


def _position(before: str | None) -> tuple[str, str] | None:
    """Parse the time and id of the last job of the previous page.

    Raises:
        Problem: they are not valid.
    """
    if before is None:
        return None
    moment, _, job_id = before.partition("~")
    try:
        datetime.fromisoformat(moment).astimezone(UTC)
        return moment, valid_id(job_id)
    except (ValueError, OverflowError, Problem):
        detail = "before is not from a link to a next page"
        raise Problem(422, "invalid-request", "The request is not valid", detail) from None


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for block in request.stream():
            yield block
    except ClientDisconnect:
        raise caller_gone() from None
