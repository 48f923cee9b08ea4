"""What is asked of, and told by, the store of jobs. Apart from it, so that these names cost no import of a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

ChunkRef = tuple[str, int]
"""Job id and number of the chunk."""
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[JobState, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
FINISHED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class NewChunk:
    """A part of a body, to be stored."""

    number: int
    first_row: int
    """Its place among the rows of the job, from 0."""
    rows: int
    body: bytes | None
    """None where it is in the storage already."""


@dataclass(frozen=True)
class NewJob:
    """A job to be stored; it has at least one chunk."""

    job_id: str
    media_type: str
    is_single: bool
    digest: str
    """Of media type and body: what a repeated key must repeat."""
    idempotency_key: str | None
    webhook_url: str | None
    chunks: Sequence[NewChunk]
    trace: str | None = None
    """The `traceparent` of its submission, if that is traced: sent along with its messages, and not stored."""


@dataclass(frozen=True)
class Inserted:
    """What became of a new job."""

    job_id: str
    """Of the job that has the idempotency key already, where it is not new."""
    is_new: bool
    same_digest: bool
    """Whether that other job has the same media type and body."""
    created_at: str
    """ISO 8601 in UTC."""


@dataclass(frozen=True)
class Job:
    """A job as it is now; moments are ISO 8601 in UTC."""

    job_id: str
    state: JobState
    media_type: str
    is_single: bool
    idempotency_key: str | None
    rows: int
    chunks: int
    rows_done: int
    rows_failed: int
    """Of those that are done, the ones answered by a problem."""
    chunks_done: int
    problem: dict[str, Any] | None
    """Why it has failed, as RFC 9457 has it."""
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    webhook_url: str | None
    webhook_state: Literal["pending", "delivered", "failed"] | None
    webhook_attempts: int
    webhook_at: str | None
    attempts: int
    """Of the chunk that was begun most often."""

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more by itself."""
        return self.state in FINISHED


@dataclass(frozen=True)
class ClaimedChunk:
    """A chunk that the caller may work on as long as nobody else has claimed it since."""

    job_id: str
    number: int
    first_row: int
    rows: int
    claim: str
    attempts: int
    """With this one."""
    media_type: str
    is_single: bool
    body: bytes | None
    """None where it is in the storage."""


@dataclass(frozen=True)
class Claim:
    """What came of an attempt to claim chunks; what is in neither list is done, stopped or with another worker."""

    chunks: Sequence[ClaimedChunk]
    gave_up: Sequence[ChunkRef]
    """Those whose attempts were used up: their jobs have failed now."""


@dataclass(frozen=True)
class FinishedChunk:
    """The answers to a chunk."""

    job_id: str
    number: int
    claim: str
    rows_failed: int
    result: bytes | None
    """None where it is in the storage."""


@dataclass(frozen=True)
class ResultChunk:
    """The answers to some rows of a job."""

    number: int
    first_row: int
    rows: int
    result: bytes | None
    """None where it is in the storage."""


@dataclass(frozen=True)
class RunningChunk:
    """A chunk that a worker has."""

    job_id: str
    number: int
    rows: int
    worker: str | None
    attempts: int
    started_at: str


@dataclass(frozen=True)
class QueueStatistics:
    """How the queue is doing."""

    jobs: Mapping[JobState, int]
    """How many are in each state; counted up to `store.COUNTED`."""
    chunks_queued: int
    chunks_running: int
    oldest_queued_seconds: float
    """Age of the oldest job of which no chunk was begun; 0 if there is none."""
    retries: int
    """Attempts beyond the first, of chunks that are not finished."""
    refused: int
    """Jobs that have failed because of what was sent; counted likewise."""

    @property
    def dead_letters(self) -> int:
        """Jobs that have failed though nothing was wrong with what was sent."""
        return self.jobs["failed"] - self.refused


@dataclass(frozen=True)
class Activity:
    """What was finished within a time."""

    seconds: float
    jobs: int
    rows: int
