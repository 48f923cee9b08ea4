"""The store of jobs: their rows are the truth about them, whatever happens to messages and workers.

Every call is one transaction, or a few, and may be made anew when the database did not answer: whatever was done
already is then found done.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from ml_microservice.database.engine import open_engine, reported
from ml_microservice.database.revision import migrate, require_current
from ml_microservice.errors import DatabaseError, Fault
from ml_microservice.jobs.job import (
    Activity,
    ChunkRef,
    Claim,
    ClaimedChunk,
    FinishedChunk,
    Inserted,
    Job,
    NewChunk,
    NewJob,
    QueueStatistics,
    ResultChunk,
    RunningChunk,
)
from ml_microservice.jobs.store import claims, insertion, outbox, queries, transitions
from ml_microservice.settings import Settings

__all__ = [
    "Activity",
    "ChunkRef",
    "Claim",
    "ClaimedChunk",
    "FinishedChunk",
    "Inserted",
    "Job",
    "JobStore",
    "NewChunk",
    "NewJob",
    "QueueStatistics",
    "ResultChunk",
    "RunningChunk",
    "open_job_store",
]


def open_job_store(settings: Settings) -> "JobStore":
    """The jobs of a project; close it when it is not needed any more.

    Raises:
        ConfigError: `database.url` cannot be used.
        DatabaseError: the database cannot be reached, or is of another revision.
    """
    engine = open_engine(settings)
    with reported(engine):
        (migrate if settings.database.migrate else require_current)(engine)
    return JobStore(engine, settings)


def now_utc() -> datetime:
    """The moment."""
    return datetime.now(UTC)


class JobStore:
    """Jobs and their chunks, in the database. Threads may share it.

    Every method raises `DatabaseError` where the database cannot be reached or used.

    Args:
        engine: of the database.
        settings: the project's.
        clock: tells the moment.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], datetime] = now_utc) -> None:
        self._engine = engine
        self._settings = settings.jobs
        self._keep = timedelta(days=settings.jobs.result_days)
        self._now = clock

    def close(self) -> None:
        """Give the connections back; after a fork, the child opens a store of its own."""
        self._engine.dispose()

    def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Store jobs in one transaction; what became of each, in their order.

        Their chunks count as published: send the messages next, or call `unpublished` where that fails.
        """
        with self._writing() as connection:
            return insertion.insert_jobs(connection, jobs, self._now())

    def job(self, job_id: str) -> Job | None:
        """A job as it is now; None if there is none (any more)."""
        return self.progress([job_id]).get(job_id)

    def progress(self, job_ids: Collection[str]) -> dict[str, Job]:
        """Jobs as they are now, those that there are, in one query."""
        with self._reading() as connection:
            return queries.jobs_of(connection, job_ids)

    def jobs(self, state: str | None, before: tuple[str, str] | None, limit: int) -> list[Job]:
        """A page of jobs, newest first.

        Args:
            state: only those of it.
            before: (`created_at`, `job_id`) of the last job of the page before.
            limit: most jobs of the page.
        """
        with self._reading() as connection:
            return queries.page(connection, state, before, limit)

    def result_chunks(self, job_id: str, first_row: int, rows: int) -> list[ResultChunk]:
        """The finished chunks that hold any of these rows, in their order."""
        with self._reading() as connection:
            return queries.results(connection, job_id, first_row, rows)

    def queued(self) -> int:
        """How many chunks wait, counted up to one more than may."""
        with self._reading() as connection:
            return queries.count_queued(connection, self._settings.max_queued + 1)

    def claim(self, refs: Sequence[ChunkRef], worker: str, *, redelivered: bool) -> Claim:
        """Give a worker those of some chunks that nobody has, or whose worker has gone.

        Args:
            refs: the chunks.
            worker: its name, to be shown.
            redelivered: the broker says that whoever had the message has gone.
        """
        now, most = self._now(), self._settings.max_attempts
        with self._writing() as connection:
            claimed, used_up = claims.claim(
                *(connection, refs, worker),
                is_free=claims.free_chunks(now, redelivered=redelivered),
                max_attempts=most,
                now=now,
                lease_until=self._lease(now),
            )
        gave_up = []
        for ref in used_up:  # each in a transaction of its own, which locks all chunks of the job
            with self._writing() as connection:
                if transitions.give_up(connection, ref, most, now, self._keep, redelivered=redelivered):
                    gave_up.append(ref)
        return Claim(claimed, gave_up)

    def finish(self, chunks: Sequence[FinishedChunk]) -> set[ChunkRef]:
        """Keep results; of those chunks that were still their workers', which are the ones returned."""
        with self._writing() as connection:
            return transitions.finish(connection, chunks, self._now(), self._keep)

    def release(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Put chunks back into the queue as if they had not been begun."""
        with self._writing() as connection:
            claims.put_back(connection, chunks, self._now(), attempts=-1)

    def retry_later(self, chunk: ClaimedChunk) -> None:
        """Put a chunk back into the queue; the attempt counts."""
        with self._writing() as connection:
            claims.put_back(connection, [chunk], self._now(), attempts=0)

    def fail(self, chunk: ClaimedChunk, problem: dict[str, Any]) -> None:
        """Let the job of a chunk fail, if the chunk is still its worker's."""
        with self._writing() as connection:
            transitions.fail(connection, chunk, problem, self._now(), self._keep)

    def renew(self, held: Collection[str]) -> set[str]:
        """Give workers more time; the claims that still hold: the others were cancelled or taken over."""
        with self._writing() as connection:
            return claims.renew(connection, held, self._lease(self._now()))

    def cancel(self, job_id: str) -> Job | None:
        """Stop a job, unless it is finished; the job as it is then, None if there is none."""
        with self._writing() as connection:
            transitions.lock_job(connection, job_id)
            transitions.stop(connection, job_id, "cancelled", self._now(), self._keep)
            return queries.jobs_of(connection, [job_id]).get(job_id)

    def to_publish(self, *, queue_is_empty: bool, limit: int) -> list[tuple[ChunkRef, bool]]:
        """Queued chunks for which no message seems to be on its way, and whether their jobs have several.

        Chunks whose workers have gone are put back into the queue first, and are among them. What is returned counts
        as published and is given to nobody else for a while.
        """
        now = self._now()
        with self._writing() as connection:
            outbox.free_lapsed(connection, now, limit)
            return outbox.take_unpublished(connection, now, limit, queue_is_empty=queue_is_empty)

    def published(self, refs: Sequence[ChunkRef]) -> None:
        """Note that messages for chunks were sent now."""
        with self._writing() as connection:
            outbox.mark_published(connection, refs, self._now())

    def unpublished(self, refs: Sequence[ChunkRef]) -> None:
        """Note that messages for chunks could not be sent: the next `to_publish` has them."""
        with self._writing() as connection:
            outbox.mark_published(connection, refs, None)

    def retry(self, job_id: str) -> list[ChunkRef]:
        """Queue the unfinished chunks of a failed job anew; they count as published, so send the messages next.

        Raises:
            DatabaseError: there is no such job, or it has not failed.
        """
        with self._writing() as connection:
            refs = transitions.restart(connection, job_id, self._now())
        if refs is None:
            raise _not_failed(job_id)
        return refs

    def drop(self, job_id: str) -> None:
        """Delete a failed job.

        Raises:
            DatabaseError: there is no such job, or it has not failed.
        """
        with self._writing() as connection:
            is_dropped = transitions.drop(connection, job_id)
        if not is_dropped:
            raise _not_failed(job_id)

    def expire(self) -> list[str]:
        """Delete the jobs that have expired; their ids, whose files are to be deleted next."""
        expired: list[str] = []
        while True:
            with self._writing() as connection:
                batch = transitions.expire(connection, self._now())
            expired += batch
            if len(batch) < transitions.EXPIRED_AT_ONCE:
                return expired

    def webhooks_due(self, limit: int) -> list[Job]:
        """Jobs whose webhooks are to be sent now; nobody else is given them for a while."""
        with self._writing() as connection:
            ids = outbox.take_webhooks(connection, self._now(), limit)
            return list(queries.jobs_of(connection, ids).values())

    def webhook_done(self, job_id: str, delivered: bool, next_at: datetime | None) -> None:
        """Count a try of a webhook; not delivered and without a next time, it has failed."""
        with self._writing() as connection:
            outbox.mark_webhook(connection, job_id, delivered, next_at)

    def statistics(self) -> QueueStatistics:
        """How the queue is doing."""
        with self._reading() as connection:
            return queries.statistics(connection, self._now())

    def running(self, limit: int) -> list[RunningChunk]:
        """What workers are at, the longest first."""
        with self._reading() as connection:
            return queries.running(connection, limit)

    def activity(self, seconds: float) -> Activity:
        """What was finished in these last seconds."""
        with self._reading() as connection:
            return queries.activity(connection, self._now(), seconds, self._keep)

    def _lease(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._settings.lease_seconds)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reported(self._engine), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with (
            reported(self._engine),
            self._engine.connect().execution_options(writing=True) as connection,
            connection.begin(),
        ):
            yield connection


def _not_failed(job_id: str) -> DatabaseError:
    advice = "`ml-service jobs dead list` shows those that have"
    return DatabaseError(Fault(f"there is no job {job_id} that has failed", advice=advice))
