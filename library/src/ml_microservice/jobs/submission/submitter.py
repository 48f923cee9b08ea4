"""From a body to a job: received, cut, kept, and handed in at the desk."""

import logging
from collections.abc import AsyncIterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from anyio import CapacityLimiter, to_thread

from ml_microservice.errors import ServiceError
from ml_microservice.inference.feedback import ReceivedStamps
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.jobs.chunk_format import body_name
from ml_microservice.jobs.job import Inserted, NewChunk, NewJob
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.submission.body import JSON, Received, not_kept, received
from ml_microservice.jobs.submission.chunks import Cut, cut, cut_json
from ml_microservice.jobs.submission.inserter import JobInserter
from ml_microservice.settings import Settings
from ml_microservice.tracing.current_span import CURRENT

logger = logging.getLogger(__name__)
SMALL_BYTES = 64 * 2**10
"""JSON up to this size is cut on the event loop, where handing it over to a thread would take longer."""
INLINE_BYTES = 2**20
"""Of all chunks of a job together, that are kept in the database."""
CUT_AT_ONCE = 2
"""Bodies: cutting is work for the interpreter, and each takes the memory of a chunk or two."""


@dataclass(frozen=True)
class Submission:
    """What a caller sent."""

    parts: AsyncIterable[bytes]
    """The body, as it comes."""
    media_type: str
    announced: int
    """The length of the body, if the caller said it; else 0."""
    idempotency_key: str | None
    webhook_url: str | None


class Submitted(NamedTuple):
    """A submission that is a job now."""

    inserted: Inserted
    rows: int


class JobSubmitter:
    """Takes submissions.

    Args:
        inserter: stores the jobs.
        settings: of the project.
    """

    def __init__(self, inserter: JobInserter, settings: Settings) -> None:
        self._inserter = inserter
        self._settings = settings
        self._stamps = ReceivedStamps()
        self._limiter: CapacityLimiter | None = None

    async def submit(self, sent: Submission, served: ServedModel) -> Submitted:
        """Store a submission as a job.

        Args:
            sent: what was sent.
            served: the model that is served, by whose rules a single object is validated at once.

        Raises:
            Problem: it is not taken; nothing of it is left, unless the database failed while it was stored.
        """
        await self._inserter.check_room()
        job_id, _ = self._stamps.next()
        kept = _Chunks(job_id, self._settings)
        try:
            async with received(sent.parts, sent.media_type, sent.announced, self._settings) as body:
                is_single = await self._cut(body, served, kept)
        except BaseException:
            await kept.remove()
            raise
        span = CURRENT.get()
        if span is not None:
            span.set_attribute("job.id", job_id)
        job = NewJob(
            *(job_id, sent.media_type, is_single, body.digest, sent.idempotency_key, sent.webhook_url),
            chunks=kept.chunks,
            trace=None if span is None else span.traceparent,
        )
        try:
            inserted = await self._inserter.insert(job)
        except Problem as problem:
            # Where the database failed, the job may be there all the same: the sweeper knows later what it needs.
            if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
                await kept.remove()
            raise
        if not inserted.is_new:
            await kept.remove()
        if not inserted.same_digest:
            raise other_body()
        return Submitted(inserted, kept.rows)

    async def _cut(self, body: Received, served: ServedModel, kept: "_Chunks") -> bool:
        """Keep the chunks of a body; whether it is a single object."""
        is_json = body.media_type == JSON
        if is_json and body.size <= SMALL_BYTES:
            is_single = _cut_json(body, served, kept)
        else:
            if self._limiter is None:
                self._limiter = CapacityLimiter(CUT_AT_ONCE)
            cutting = partial(_cut_json, body, served, kept) if is_json else partial(_cut_rows, body, kept)
            is_single = await to_thread.run_sync(cutting, limiter=self._limiter)
        if not kept.chunks:
            raise no_rows()
        return is_single


class _Chunks:
    """The chunks of a job that is not stored yet."""

    def __init__(self, job_id: str, settings: Settings) -> None:
        self.chunks: list[NewChunk] = []
        self.chunk_rows = settings.jobs.chunk_rows
        self._job_id = job_id
        self._settings = settings
        self.rows = self._inline = 0
        self._storage: JobStorage | None = None

    def add(self, one: Cut) -> None:
        """Keep a chunk: a small one is stored with its job.

        Raises:
            Problem: it cannot be kept, or there are too many.
        """
        jobs, number, size = self._settings.jobs, len(self.chunks), len(one.body)
        if number == jobs.max_queued:
            raise too_many_chunks(jobs.max_queued * jobs.chunk_rows)
        is_inline = size <= jobs.inline_bytes and self._inline + size <= max(INLINE_BYTES, jobs.inline_bytes)
        if is_inline:
            self._inline += size
        else:
            self._write(body_name(number), one.body)
        self.chunks.append(NewChunk(number, self.rows, one.rows, one.body if is_inline else None))
        self.rows += one.rows

    async def remove(self) -> None:
        """Remove what is in the storage, if there is anything."""
        if self._storage is not None:
            await to_thread.run_sync(self._remove, self._storage)

    def _write(self, name: str, body: bytes) -> None:
        try:
            if self._storage is None:
                self._storage = JobStorage(self._settings)
            self._storage.write(self._job_id, name, body)
        except (OSError, ServiceError) as error:
            logger.error("a body cannot be kept in the storage: %s", error)
            raise not_kept() from None

    def _remove(self, storage: JobStorage) -> None:
        try:
            storage.remove(self._job_id)
        except (OSError, ServiceError) as error:
            logger.warning("the body of a job that was not taken is left for the sweeper: %s", error)


def _cut_json(body: Received, served: ServedModel, kept: _Chunks) -> bool:
    text = body.file.read()
    for one in cut_json(text, served, kept.chunk_rows):
        kept.add(one)
    return text.lstrip()[:1] != b"["


def _cut_rows(body: Received, kept: _Chunks) -> bool:
    for one in cut(body.media_type, body.file, kept.chunk_rows):
        kept.add(one)
    return False


def no_rows() -> Problem:
    """A table or a list without any row."""
    detail = "The body has no rows: there is nothing to predict."
    return Problem(422, "invalid-batch", "The request has no rows", detail)


def too_many_chunks(rows: int) -> Problem:
    """A job that would fill the queue all by itself."""
    detail = f"The body has more rows than can wait, {rows} at most: split it."
    return Problem(413, "too-many-rows", "Too many rows", detail)


def other_body() -> Problem:
    """An idempotency key that was used for something else."""
    detail = "There is a job of this Idempotency-Key already, with another body: use a new key."
    return Problem(422, "idempotency-key-reused", "The key was used already", detail)
