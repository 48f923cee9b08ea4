"""Receives the body of a submission: in memory while it is small, else in a temporary file.

The body is split into chunks only once it is complete. So a slow caller occupies no thread, a body beyond the limit
leaves nothing behind, and the digest that a repeated idempotency key must match is known before anything is stored.
"""

import hashlib
import io
import logging
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any

from anyio import to_thread

from ml_microservice.inference.problems import Problem, body_too_large
from ml_microservice.jobs.problems import jobs_unavailable
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
MAX_MEMORY_BYTES = 2**20
JSON = "application/json"


@dataclass(frozen=True)
class Submission:
    """What a caller sends to `POST /jobs`."""

    body: AsyncIterable[bytes]
    """The body, in blocks as they arrive."""
    media_type: str
    content_length: int
    """The announced length of the body; 0 if the caller announced none."""
    idempotency_key: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True)
class ReceivedBody:
    """A complete body."""

    media_type: str
    file: IO[bytes]
    """The body, positioned at its start."""
    size: int
    """Number of bytes."""
    digest: str
    """SHA-256 of media type and body."""


@asynccontextmanager
async def receive_body(submission: Submission, settings: Settings) -> AsyncIterator[ReceivedBody]:
    """Receive a body, and keep it for the duration of the block.

    Args:
        submission: the submission, whose body is read. JSON has a lower limit because it is read as a whole.
        settings: the project's.

    Raises:
        Problem: the body is too large, or the disk cannot hold it.
    """
    media_type = submission.media_type
    is_json = media_type == JSON
    limit = min(settings.api.max_body_bytes, settings.jobs.max_body_bytes) if is_json else settings.jobs.max_body_bytes
    if submission.content_length > limit:
        raise _too_large(limit, is_json)
    digest = hashlib.sha256(media_type.encode() + b"\0")
    blocks: list[bytes] = []
    size = held = 0
    file: Any = None
    try:
        async for block in submission.body:
            size += len(block)
            if size > limit:
                raise _too_large(limit, is_json)
            blocks.append(block)
            held += len(block)
            if held > MAX_MEMORY_BYTES and not is_json:
                file = file or tempfile.TemporaryFile()  # noqa: SIM115
                await to_thread.run_sync(_write, file, digest, blocks)
                blocks, held = [], 0
        if file is None:
            body = b"".join(blocks)
            if size > MAX_MEMORY_BYTES:
                await to_thread.run_sync(digest.update, body)
            else:
                digest.update(body)
            file = io.BytesIO(body)
        else:
            await to_thread.run_sync(_write, file, digest, blocks)
            file.seek(0)
        yield ReceivedBody(media_type, file, size, digest.hexdigest())
    finally:
        if file is not None:
            file.close()


def _write(file: IO[bytes], digest: Any, blocks: list[bytes]) -> None:
    try:
        for block in blocks:
            digest.update(block)
            file.write(block)
        file.flush()
    except OSError as error:
        logger.error("cannot write a body to the disk: %s", error)
        raise not_stored() from None


def _too_large(limit: int, is_json: bool) -> Problem:
    problem = body_too_large(limit)
    if is_json:
        problem.detail = f"JSON is read as a whole, and this has more than {limit} bytes: send it as NDJSON."
    return problem


def not_stored() -> Problem:
    """The problem for a body that the disk or the storage cannot hold."""
    return jobs_unavailable("The body cannot be stored; see the service's log.", retry_seconds=30)
