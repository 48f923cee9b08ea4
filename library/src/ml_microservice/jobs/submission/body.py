"""Receiving a body: in memory while it is small, on disk beyond.

Cutting begins once all of it is there. So a slow caller holds no thread, a body beyond the limit has left nothing, and
what a repeated key has to repeat is known before anything is written.
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
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
IN_MEMORY_BYTES = 2**20
JSON = "application/json"


@dataclass(frozen=True)
class Received:
    """A body as it was sent."""

    media_type: str
    file: IO[bytes]
    """At its start."""
    size: int
    """In bytes."""
    digest: str
    """SHA-256 of media type and body."""


@asynccontextmanager
async def received(
    parts: AsyncIterable[bytes], media_type: str, announced: int, settings: Settings
) -> AsyncIterator[Received]:
    """A body, as long as the block lasts.

    Args:
        parts: as they come.
        media_type: of the body; JSON is read as a whole, and so has a lower limit.
        announced: the length that the caller said; 0 if none.
        settings: of the project.

    Raises:
        Problem: it is too large, or cannot be kept.
    """
    is_json = media_type == JSON
    limit = min(settings.api.max_body_bytes, settings.jobs.max_body_bytes) if is_json else settings.jobs.max_body_bytes
    if announced > limit:
        raise _too_large(limit, is_json)
    digest = hashlib.sha256(media_type.encode() + b"\0")
    taken: list[bytes] = []
    size = held = 0
    file: Any = None
    try:
        async for part in parts:
            size += len(part)
            if size > limit:
                raise _too_large(limit, is_json)
            taken.append(part)
            held += len(part)
            if held > IN_MEMORY_BYTES and not is_json:
                file = file or tempfile.TemporaryFile()  # noqa: SIM115
                await to_thread.run_sync(_keep, file, digest, taken)
                taken, held = [], 0
        if file is None:
            body = b"".join(taken)
            if size > IN_MEMORY_BYTES:
                await to_thread.run_sync(digest.update, body)
            else:
                digest.update(body)
            file = io.BytesIO(body)
        else:
            await to_thread.run_sync(_keep, file, digest, taken)
            file.seek(0)
        yield Received(media_type, file, size, digest.hexdigest())
    finally:
        if file is not None:
            file.close()


def _keep(file: IO[bytes], digest: Any, parts: list[bytes]) -> None:
    try:
        for part in parts:
            digest.update(part)
            file.write(part)
        file.flush()
    except OSError as error:
        logger.error("a body cannot be kept on disk: %s", error)
        raise not_kept() from None


def _too_large(limit: int, is_json: bool) -> Problem:
    problem = body_too_large(limit)
    if is_json:
        problem.detail = f"JSON is read as a whole, and this has more than {limit} bytes: send it as NDJSON."
    return problem


def not_kept() -> Problem:
    """A body for which there is no room on the disk."""
    detail = "The body cannot be kept: the service's log says why."
    return Problem(503, "jobs-unavailable", "Jobs are not available", detail, headers={"retry-after": "30"})
