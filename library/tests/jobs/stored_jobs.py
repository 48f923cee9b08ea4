"""A store of jobs whose time the tests tell, and jobs to put into it."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from ml_microservice.database.engine import open_engine
from ml_microservice.database.revision import migrate
from ml_microservice.jobs.job import Claim, ClaimedChunk, FinishedChunk, NewChunk, NewJob
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.settings import JobsSettings, Settings

T = TypeVar("T")
ROWS = 10
"""Of each chunk."""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The moment."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def open_store(settings: Settings, clock: Clock, **jobs: Any) -> JobStore:
    """A store on an empty database, with some settings of jobs."""
    engine = open_engine(settings)
    migrate(engine)
    return JobStore(engine, settings.model_copy(update={"jobs": JobsSettings(**jobs)}), clock)


def new_job(chunks: int = 1, *, key: str | None = None, digest: str = "d", webhook: str | None = None) -> NewJob:
    """A job of some chunks; one chunk is a job of one object."""
    parts = [NewChunk(number, number * ROWS, ROWS, b"body \x00 %d" % number) for number in range(chunks)]
    return NewJob(str(uuid4()), "application/json", chunks == 1, digest, key, webhook, parts)


def stored(store: JobStore, chunks: int = 1, **options: Any) -> str:
    """The id of a new job."""
    job = new_job(chunks, **options)
    store.insert([job])
    return job.job_id


def claim(store: JobStore, job_id: str, *numbers: int, worker: str = "w", redelivered: bool = False) -> Claim:
    """Claim chunks of a job."""
    return store.claim([(job_id, number) for number in numbers], worker, redelivered=redelivered)


def finished(chunk: ClaimedChunk, rows_failed: int = 0) -> FinishedChunk:
    """The result of a chunk."""
    return FinishedChunk(chunk.job_id, chunk.number, chunk.claim, rows_failed, b"result \x00 %d" % chunk.number)


def run(store: JobStore, job_id: str, *numbers: int) -> None:
    """Claim chunks and finish them."""
    store.finish([finished(chunk) for chunk in claim(store, job_id, *numbers).chunks])


def at_once(work: Callable[[T], None], parts: Iterable[T]) -> None:
    """Do all parts of some work at the same time; what one raises, is raised."""
    parts = list(parts)
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, parts))
