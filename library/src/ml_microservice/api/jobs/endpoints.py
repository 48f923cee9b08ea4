"""`/jobs`: submitting, looking, cancelling, listing."""

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
    found,
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
from ml_microservice.jobs.submission.submitter import Submission

LONGEST_WAIT_SECONDS = 60
Wait = Annotated[
    int, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for the result, which is then the answer.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="1 to 255 visible characters of your own: a submission that is repeated with its key is one job.",
    ),
]
WebhookUrl = Annotated[
    str | None, Header(alias="Webhook-Url", description="Where to send a signed message once the job is finished.")
]
State = Annotated[JobState | None, Query(description="Only jobs of this state.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most jobs of the page.")]
Before = Annotated[str | None, Query(description="As the link to the next page has it.", max_length=100)]


async def submit(
    request: Request, wait: Wait = 0, idempotency_key: IdempotencyKey = None, webhook_url: WebhookUrl = None
) -> Response:
    """Have one row or many predicted by the workers, however long it takes; answered once the job is stored for good.

    The body is that of `/predict` or of `/predict/batch`. It may have `jobs.max_body_bytes`, or `api.max_body_bytes`
    where it is JSON.
    With `wait`, the answer is the result if it is there in time, and the problem if the job has failed by then.
    """
    facade, sent = facade_of(request), sent_format(request.headers.get("content-type"))
    if wait:
        wanted_format(accept_of(request), sent)  # or else a job were taken whose answer nobody would
    if webhook_url is not None:
        from ml_microservice.jobs.webhooks.delivery import check_url

        await to_thread.run_sync(check_url, webhook_url, facade.settings)
    length = request.headers.get("content-length", "0")
    announced = int(length) if length.isdecimal() else 0
    submission = Submission(_body(request), sent.media_type, announced, idempotency_key, webhook_url)
    taken = await facade.submitter.submit(submission, core_of(request).served)
    job_id, is_new = taken.inserted.job_id, taken.inserted.is_new
    path = job_path(request, job_id)
    headers = {"Location": path} | ({} if is_new else {"Idempotency-Replayed": "true"})
    if wait and not facade.progress.is_full:
        # Whoever waits has no work done, so it does not keep others from having theirs done.
        with in_work_of(request).paused():
            job = await facade.progress.finished(job_id, wait)
        if job is not None:
            return await finished_response(request, facade, job, headers)
    if not is_new:
        return JSONResponse(job_document(await found(facade, job_id), path), 202, headers)
    has_webhook = webhook_url is not None
    document = new_job_document(taken.inserted, sent.media_type, taken.rows, has_webhook=has_webhook, path=path)
    return JSONResponse(document, 202, headers)


async def job(request: Request, job_id: JobId) -> JSONResponse:
    """How a job is: its state, its progress in rows, when it was begun and finished, and why it has failed."""
    facade = facade_of(request)
    job = await found(facade, job_id)
    provenance = await facade.results.provenance(job) if job.state == "succeeded" else None
    return JSONResponse(job_document(job, job_path(request, job.job_id), provenance))


async def cancel(request: Request, job_id: JobId) -> JSONResponse:
    """Stop a job: what waits is not begun, and what runs is ended within seconds. May be repeated."""
    facade, known = facade_of(request), valid_id(job_id)
    job = await facade.store.call_async(lambda store: store.cancel(known))
    if job is None:
        raise no_such_job()
    if job.state != "cancelled":
        detail = f"The job has {job.state} already: what became of it is kept until it expires."
        raise Problem(409, "job-finished", "The job is finished", detail)
    return JSONResponse(job_document(job, job_path(request, job.job_id)))


async def jobs(request: Request, state: State = None, limit: Limit = 100, before: Before = None) -> JSONResponse:
    """All jobs, newest first: for those who run the service, so with one of its admin keys where keys are set."""
    require_admin(request)
    facade, position = facade_of(request), _position(before)
    page = await facade.store.call_async(lambda store: store.jobs(state, position, limit))
    document: dict[str, Any] = {"jobs": [job_document(job, job_path(request, job.job_id)) for job in page]}
    if len(page) < limit:
        return JSONResponse(document)
    query: dict[str, Any] = {"limit": limit, "before": f"{page[-1].created_at}~{page[-1].job_id}"}
    following = f"{job_path(request, '')[:-1]}?{urlencode(query | ({'state': state} if state else {}))}"
    return JSONResponse({**document, "next": following}, headers={"Link": f'<{following}>; rel="next"'})


def _position(before: str | None) -> tuple[str, str] | None:
    """The moment and the id of the job that the page before ended with.

    Raises:
        Problem: they are none.
    """
    if before is None:
        return None
    moment, _, job_id = before.partition("~")
    try:
        datetime.fromisoformat(moment).astimezone(UTC)
        return moment, valid_id(job_id)
    except (ValueError, OverflowError, Problem):
        detail = "before is not one of a link to a next page"
        raise Problem(422, "invalid-request", "The request is not valid", detail) from None


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.stream():
            yield part
    except ClientDisconnect:
        raise caller_gone() from None
