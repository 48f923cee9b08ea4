"""The store of jobs. Its rows are the truth about jobs, whatever happens to messages and workers.

Every call is one transaction, or a few. Calls are idempotent: a caller whose database failed may repeat them.
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
    NewJob,
    QueueStatistics,
    ResultChunk,
    RunningChunk,
)
from ml_microservice.jobs.store import claims, insertion, outbox, queries, transitions
from ml_microservice.settings import Settings


def open_job_store(settings: Settings) -> "JobStore":
    """Open the store of a project. The caller closes it.

    Raises:
        ConfigError: `database.url` cannot be used.
        DatabaseError: the database cannot be reached, or has another revision.
    """
    engine = open_engine(settings)
    with reported(engine):
        (migrate if settings.database.migrate else require_current)(engine)
    return JobStore(engine, settings)


def now_utc() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


class JobStore:
    """Jobs and their chunks, in the database. Threads may share it.

    Every method raises `DatabaseError` if the database cannot be reached or used.

    Args:
        engine: the database.
        settings: the project's.
        clock: returns the current time.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], datetime] = now_utc) -> None:
        self._engine = engine
        self._settings = settings.jobs
        self._keep = timedelta(days=settings.jobs.result_days)
        self._now = clock

    def close(self) -> None:
        """Close the connections. A forked child opens its own store."""
        self._engine.dispose()

    def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Insert jobs in one transaction; the outcome for each, in order.

        Their chunks count as published: send the messages next, or call `unpublished` if that fails.
        """
        with self._writing() as connection:
            return insertion.insert_jobs(connection, jobs, self._now())

    def job(self, job_id: str) -> Job | None:
        """A job; None if there is none, or none any more."""
        return self.progress([job_id]).get(job_id)

    def progress(self, job_ids: Collection[str]) -> dict[str, Job]:
        """Those of some jobs that exist, by id, in one query."""
        with self._reading() as connection:
            return queries.jobs_of(connection, job_ids)

    def jobs(self, state: str | None, before: tuple[str, str] | None, limit: int) -> list[Job]:
        """A page of jobs, newest first.

        Args:
            state: only jobs in this state.
            before: `created_at` and `job_id` of the last job of the previous page.
            limit: most jobs of the page.
        """
        with self._reading() as connection:
            return queries.page(connection, state, before, limit)

    def result_chunks(self, job_id: str, first_row: int, rows: int) -> list[ResultChunk]:
        """The finished chunks that hold any of some rows, in order."""
        with self._reading() as connection:
            return queries.results(connection, job_id, first_row, rows)

    def queued(self) -> int:
        """The number of queued chunks, counted up to one more than `jobs.max_queued`."""
        with self._reading() as connection:
            return queries.count_queued(connection, self._settings.max_queued + 1)

    def claim(self, refs: Sequence[ChunkRef], worker: str, *, redelivered: bool) -> Claim:
        """Claim chunks that no worker has, or whose worker is gone.

        Args:
            refs: the chunks.
            worker: the worker's name, which is shown to operators.
            redelivered: whether the broker says that the worker that had the message is gone.
        """
        now, most = self._now(), self._settings.max_attempts
        with self._writing() as connection:
            claimed, used_up = claims.claim(
                connection,
                refs,
                worker,
                is_free=claims.free_chunks(now, redelivered=redelivered),
                max_attempts=most,
                now=now,
                lease_until=self._lease(now),
            )
        gave_up = []
        for ref in used_up:  # each in its own transaction, because that locks all chunks of the job
            with self._writing() as connection:
                if transitions.give_up(connection, ref, most, now, self._keep, redelivered=redelivered):
                    gave_up.append(ref)
        return Claim(claimed, gave_up)

    def finish(self, chunks: Sequence[FinishedChunk]) -> set[ChunkRef]:
        """Store the results of those chunks whose claims still hold; the chunks' keys."""
        with self._writing() as connection:
            return transitions.finish(connection, chunks, self._now(), self._keep)

    def release(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Queue chunks again. The attempt does not count."""
        with self._writing() as connection:
            claims.put_back(connection, chunks, self._now(), attempts=-1)

    def retry_later(self, chunk: ClaimedChunk) -> None:
        """Queue a chunk again. The attempt counts."""
        with self._writing() as connection:
            claims.put_back(connection, [chunk], self._now(), attempts=0)

    def fail(self, chunk: ClaimedChunk, problem: dict[str, Any]) -> None:
        """Fail the job of a chunk, if the claim of the chunk still holds."""
        with self._writing() as connection:
            transitions.fail(connection, chunk, problem, self._now(), self._keep)

    def renew(self, held: Collection[str]) -> set[str]:
        """Renew leases; the claims that still hold. The others were cancelled or taken over."""
        with self._writing() as connection:
            return claims.renew(connection, held, self._lease(self._now()))

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a job, unless it is finished; the job afterwards, None if there is none."""
        with self._writing() as connection:
            transitions.lock_job(connection, job_id)
            transitions.stop(connection, job_id, "cancelled", self._now(), self._keep)
            return queries.jobs_of(connection, [job_id]).get(job_id)

    def to_publish(self, *, queue_is_empty: bool, limit: int) -> list[tuple[ChunkRef, bool]]:
        """Take queued chunks that seem to have no message, and whether their jobs have several chunks.

        Chunks whose lease has expired are queued first, and are among them. Those returned count as published, and no
        other caller gets them for a while.
        """
        now = self._now()
        with self._writing() as connection:
            outbox.free_lapsed(connection, now, limit)
            return outbox.take_unpublished(connection, now, limit, queue_is_empty=queue_is_empty)

    def published(self, refs: Sequence[ChunkRef]) -> None:
        """Mark chunks as published: their messages were sent now."""
        with self._writing() as connection:
            outbox.mark_published(connection, refs, self._now())

    def unpublished(self, refs: Sequence[ChunkRef]) -> None:
        """Mark chunks as unpublished: their messages were not sent, so the next `to_publish` returns them."""
        with self._writing() as connection:
            outbox.mark_published(connection, refs, None)

    def retry(self, job_id: str) -> list[ChunkRef]:
        """Queue the unfinished chunks of a failed job again. They count as published, so send the messages next.

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
        """Delete the expired jobs; their ids. The caller deletes their files next."""
        expired: list[str] = []
        while True:
            with self._writing() as connection:
                batch = transitions.expire(connection, self._now())
            expired += batch
            if len(batch) < transitions.EXPIRED_BATCH:
                return expired

    def webhooks_due(self, limit: int) -> list[Job]:
        """Take jobs whose webhooks are due. No other caller gets them for a while."""
        with self._writing() as connection:
            ids = outbox.take_webhooks(connection, self._now(), limit)
            return list(queries.jobs_of(connection, ids).values())

    def webhook_done(self, job_id: str, delivered: bool, next_at: datetime | None) -> None:
        """Store the outcome of a webhook. If it was not delivered and has no next time, it has failed."""
        with self._writing() as connection:
            outbox.mark_webhook(connection, job_id, delivered, next_at)

    def statistics(self) -> QueueStatistics:
        """Counts and ages of what is in the queue."""
        with self._reading() as connection:
            return queries.statistics(connection, self._now())

    def running(self, limit: int) -> list[RunningChunk]:
        """The chunks that workers are running, the longest first."""
        with self._reading() as connection:
            return queries.running(connection, limit)

    def activity(self, seconds: float) -> Activity:
        """What was finished within the last seconds."""
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
    advice = "`ml-service jobs dead list` shows failed jobs"
    return DatabaseError(Fault(f"there is no job {job_id} that has failed", advice=advice))
