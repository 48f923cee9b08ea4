"""The values that the store of jobs takes and returns. They stand apart from it, so that they import no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

ChunkRef = tuple[str, int]
"""Job id and chunk number."""
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[JobState, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
FINISHED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class NewChunk:
    """A chunk of a body that is not stored yet."""

    number: int
    first_row: int
    """Position of the chunk's first row in the job, from 0."""
    rows: int
    body: bytes | None
    """None if the body is in the storage."""


@dataclass(frozen=True)
class NewJob:
    """A job that is not stored yet. It has at least one chunk."""

    job_id: str
    media_type: str
    is_single: bool
    digest: str
    """Digest of media type and body. A request that repeats an idempotency key must have the same one."""
    idempotency_key: str | None
    webhook_url: str | None
    chunks: Sequence[NewChunk]
    trace: str | None = None
    """The `traceparent` of a traced submission. Messages carry it; the database does not store it."""


@dataclass(frozen=True)
class Inserted:
    """The outcome of storing a job."""

    job_id: str
    """Id of the stored job: of an earlier one if that has the same idempotency key."""
    is_new: bool
    same_digest: bool
    """Whether the stored job has the same media type and body."""
    created_at: str
    """ISO 8601 in UTC."""


@dataclass(frozen=True)
class Job:
    """The current state of a job. Times are ISO 8601 in UTC."""

    job_id: str
    state: JobState
    media_type: str
    is_single: bool
    idempotency_key: str | None
    rows: int
    chunks: int
    rows_done: int
    rows_failed: int
    """Number of finished rows that were answered by a problem."""
    chunks_done: int
    problem: dict[str, Any] | None
    """Why the job failed, as an RFC 9457 problem."""
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    webhook_url: str | None
    webhook_state: Literal["pending", "delivered", "failed"] | None
    webhook_attempts: int
    webhook_at: str | None
    attempts: int
    """Attempts of the chunk that was started most often."""

    @property
    def is_finished(self) -> bool:
        """Whether the job has reached a final state."""
        return self.state in FINISHED


@dataclass(frozen=True)
class ClaimedChunk:
    """A chunk that is leased to the caller until another worker claims it."""

    job_id: str
    number: int
    first_row: int
    rows: int
    claim: str
    attempts: int
    """Number of attempts, this one included."""
    media_type: str
    is_single: bool
    body: bytes | None
    """None if the body is in the storage."""


@dataclass(frozen=True)
class Claim:
    """The outcome of claiming chunks. A chunk in neither list is done, stopped, or leased to another worker."""

    chunks: Sequence[ClaimedChunk]
    gave_up: Sequence[ChunkRef]
    """Chunks whose attempts are used up. Their jobs have failed."""


@dataclass(frozen=True)
class FinishedChunk:
    """A chunk with its result."""

    job_id: str
    number: int
    claim: str
    rows_failed: int
    result: bytes | None
    """None if the result is in the storage."""


@dataclass(frozen=True)
class ResultChunk:
    """The stored result of a chunk."""

    number: int
    first_row: int
    rows: int
    result: bytes | None
    """None if the result is in the storage."""


@dataclass(frozen=True)
class RunningChunk:
    """A chunk that a worker is running."""

    job_id: str
    number: int
    rows: int
    worker: str | None
    attempts: int
    started_at: str


@dataclass(frozen=True)
class QueueStatistics:
    """Counts and ages of what is in the queue."""

    jobs: Mapping[JobState, int]
    """Number of jobs in each state, counted up to `queries.MAX_COUNT`."""
    chunks_queued: int
    chunks_running: int
    oldest_queued_seconds: float
    """Age of the oldest job that no worker has started; 0 if there is none."""
    retries: int
    """Attempts beyond the first, of unfinished chunks."""
    refused: int
    """Number of jobs that failed because of their input, counted up to `queries.MAX_COUNT`."""

    @property
    def dead_letters(self) -> int:
        """Number of jobs that failed although their input was valid."""
        return self.jobs["failed"] - self.refused


@dataclass(frozen=True)
class Activity:
    """What was finished within a period."""

    seconds: float
    jobs: int
    rows: int
