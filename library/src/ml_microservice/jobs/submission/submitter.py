"""Turns submissions into jobs: receives the body, splits it into chunks, stores them, and inserts the job."""

import logging
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from anyio import CapacityLimiter, to_thread

from ml_microservice.errors import ServiceError
from ml_microservice.inference.feedback import ReceivedStamps
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.jobs.job import Inserted, NewChunk, NewJob
from ml_microservice.jobs.storage import JobStorage, body_name
from ml_microservice.jobs.submission.body import JSON, ReceivedBody, Submission, not_stored, receive_body
from ml_microservice.jobs.submission.chunks import BodyChunk, split_body, split_json
from ml_microservice.jobs.submission.inserter import JobInserter
from ml_microservice.settings import Settings
from ml_microservice.tracing.current_span import CURRENT

logger = logging.getLogger(__name__)
SMALL_BYTES = 64 * 2**10
"""JSON up to this size is split on the event loop, because a thread would take longer to start."""
INLINE_BYTES = 2**20
"""Most bytes of a job's chunks that go into the database, together."""
MAX_SPLITS = 2
"""Bodies that are split at a time. Each needs the interpreter, and memory for a chunk or two."""


class Submitted(NamedTuple):
    """The job of a submission."""

    inserted: Inserted
    rows: int


class JobSubmitter:
    """Turns submissions into jobs.

    Args:
        inserter: stores the jobs.
        settings: the project's.
    """

    def __init__(self, inserter: JobInserter, settings: Settings) -> None:
        self._inserter = inserter
        self._settings = settings
        self._stamps = ReceivedStamps()
        self._limiter: CapacityLimiter | None = None

    async def submit(self, submission: Submission, served: ServedModel) -> Submitted:
        """Store a submission as a job.

        Args:
            submission: the submission.
            served: the model that is served. Its rules validate a single object at once.

        Raises:
            Problem: the submission is refused. Nothing of it is left, unless the database failed while storing it.
        """
        await self._inserter.check_room()
        job_id, _ = self._stamps.next()
        chunks = _ChunkWriter(job_id, self._settings)
        try:
            async with receive_body(submission, self._settings) as body:
                is_single = await self._split(body, served, chunks)
        except BaseException:
            await chunks.remove()
            raise
        span = CURRENT.get()
        if span is not None:
            span.set_attribute("job.id", job_id)
        job = NewJob(
            job_id=job_id,
            media_type=submission.media_type,
            is_single=is_single,
            digest=body.digest,
            idempotency_key=submission.idempotency_key,
            webhook_url=submission.webhook_url,
            chunks=chunks.written,
            trace=None if span is None else span.traceparent,
        )
        try:
            inserted = await self._inserter.insert(job)
        except Problem as problem:
            # A database that failed may have stored the job nevertheless. The sweeper finds files without a job.
            if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
                await chunks.remove()
            raise
        if not inserted.is_new:
            await chunks.remove()
        if not inserted.same_digest:
            raise key_reused()
        return Submitted(inserted, chunks.rows)

    async def _split(self, body: ReceivedBody, served: ServedModel, chunks: "_ChunkWriter") -> bool:
        """Split a body into chunks; whether it is a single object."""
        is_json = body.media_type == JSON
        if is_json and body.size <= SMALL_BYTES:
            is_single = _split_json(body, served, chunks)
        else:
            if self._limiter is None:
                self._limiter = CapacityLimiter(MAX_SPLITS)
            split = partial(_split_json, body, served, chunks) if is_json else partial(_split_rows, body, chunks)
            is_single = await to_thread.run_sync(split, limiter=self._limiter)
        if not chunks.written:
            raise no_rows()
        return is_single


class _ChunkWriter:
    """Writes the chunks of a job that is not stored yet: large ones to the storage."""

    def __init__(self, job_id: str, settings: Settings) -> None:
        self.written: list[NewChunk] = []
        self.rows = 0
        self.chunk_rows = settings.jobs.chunk_rows
        self._job_id = job_id
        self._settings = settings
        self._inline_bytes = 0
        self._storage: JobStorage | None = None

    def add(self, chunk: BodyChunk) -> None:
        """Write a chunk. A small one is stored in the database, with its job.

        Raises:
            Problem: the storage fails, or the job has too many chunks.
        """
        jobs, number, size = self._settings.jobs, len(self.written), len(chunk.body)
        if number == jobs.max_queued:
            raise too_many_rows(jobs.max_queued * jobs.chunk_rows)
        is_inline = size <= jobs.inline_bytes and self._inline_bytes + size <= max(INLINE_BYTES, jobs.inline_bytes)
        if is_inline:
            self._inline_bytes += size
        else:
            self._write(body_name(number), chunk.body)
        body = chunk.body if is_inline else None
        self.written.append(NewChunk(number=number, first_row=self.rows, rows=chunk.rows, body=body))
        self.rows += chunk.rows

    async def remove(self) -> None:
        """Remove the job's files from the storage."""
        if self._storage is not None:
            await to_thread.run_sync(self._remove, self._storage)

    def _write(self, name: str, body: bytes) -> None:
        try:
            if self._storage is None:
                self._storage = JobStorage(self._settings)
            self._storage.write(self._job_id, name, body)
        except (OSError, ServiceError) as error:
            logger.error("cannot write a body to the storage: %s", error)
            raise not_stored() from None

    def _remove(self, storage: JobStorage) -> None:
        try:
            storage.remove(self._job_id)
        except (OSError, ServiceError) as error:
            logger.warning("the sweeper will remove the body of a refused job: %s", error)


def _split_json(body: ReceivedBody, served: ServedModel, chunks: _ChunkWriter) -> bool:
    text = body.file.read()
    for chunk in split_json(text, served, chunks.chunk_rows):
        chunks.add(chunk)
    return text.lstrip()[:1] != b"["


def _split_rows(body: ReceivedBody, chunks: _ChunkWriter) -> bool:
    for chunk in split_body(body.media_type, body.file, chunks.chunk_rows):
        chunks.add(chunk)
    return False


def no_rows() -> Problem:
    """The problem for a table or list without rows."""
    detail = "The body has no rows: there is nothing to predict."
    return Problem(422, "invalid-batch", "The request has no rows", detail)


def too_many_rows(limit: int) -> Problem:
    """The problem for a job that is larger than the queue."""
    detail = f"The body has more rows than the queue holds, {limit} at most: split it."
    return Problem(413, "too-many-rows", "Too many rows", detail)


def key_reused() -> Problem:
    """The problem for an idempotency key that an earlier job with another body has."""
    detail = "An earlier job has this Idempotency-Key and another body: use a new key."
    return Problem(422, "idempotency-key-reused", "The key was used already", detail)
