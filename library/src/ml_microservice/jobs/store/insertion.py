"""Inserts new jobs with their chunks: a whole group of jobs with a few statements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Label, Table, insert, literal, select, true
from sqlalchemy.dialects import postgresql, sqlite

from ml_microservice.database.columns import iso
from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.job import Inserted, NewChunk, NewJob
from ml_microservice.jobs.store.rows_parameter import rows_parameter
from ml_microservice.jobs.store.tables import chunks, jobs

BATCH_CHUNKS = 500
"""Most chunks in one statement. Bodies in the database are small, but a large job has many chunks."""
TRIES = 3


def insert_jobs(connection: Connection, new: Sequence[NewJob], now: datetime) -> list[Inserted]:
    """Insert jobs with their chunks; the outcome for each job, in order.

    This is idempotent: a job whose id exists was stored by an earlier call whose answer got lost, and counts as new.
    """
    if any(not job.chunks for job in new):
        raise ValueError("a job has at least one chunk")
    # Sorted by idempotency key, so that two transactions with the same keys lock them in the same order.
    waiting = {job.job_id: job for job in sorted(new, key=lambda job: job.idempotency_key or "")}
    found: dict[str, Inserted] = {}
    for _ in range(TRIES):
        stored = _insert(connection, list(waiting.values()), now)
        _insert_chunks(connection, [waiting[job_id] for job_id in waiting if job_id in stored], now)
        found |= {job_id: _as_new(job_id, now) for job_id in stored}
        waiting = {job_id: job for job_id, job in waiting.items() if job_id not in stored}
        found |= _find_existing(connection, waiting.values(), now)
        # The job that had the key may have been deleted meanwhile.
        waiting = {job_id: job for job_id, job in waiting.items() if job_id not in found}
        if not waiting:
            return [found[job.job_id] for job in new]
    raise DatabaseError("jobs with the same idempotency keys are inserted and deleted at the same time")


def _insert(connection: Connection, new: Sequence[NewJob], now: datetime) -> set[str]:
    """Insert the jobs whose id and key do not exist; the ids of the inserted ones."""
    rows = [
        (
            job.job_id,
            job.media_type,
            job.is_single,
            job.idempotency_key,
            job.digest,
            sum(chunk.rows for chunk in job.chunks),
            len(job.chunks),
            job.webhook_url,
            "pending" if job.webhook_url else None,
        )
        for job in new
    ]
    j = jobs.c
    table = rows_parameter(
        connection,
        rows,
        j.job_id,
        j.media_type,
        j.is_single,
        j.idempotency_key,
        j.digest,
        j.rows,
        j.chunks,
        j.webhook_url,
        j.webhook_state,
    )
    zeros = dict.fromkeys(("rows_done", "rows_failed", "chunks_done", "webhook_attempts"), 0)
    columns = [*table.c, *_labelled(jobs, {"state": "queued", "created_at": now, **zeros})]
    # SQLite needs a condition here, or it would take the ON of ON CONFLICT for that of a join.
    rows_of = select(*columns).where(true())
    statement = _insert_or_leave(connection).from_select([column.name for column in columns], rows_of)
    return set(connection.execute(statement.returning(jobs.c.job_id)).scalars())


def _insert_or_leave(connection: Connection) -> Any:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(jobs).on_conflict_do_nothing()
    return sqlite.insert(jobs).on_conflict_do_nothing()


def _insert_chunks(connection: Connection, new: Sequence[NewJob], now: datetime) -> None:
    """Insert the chunks of jobs.

    They count as published, because the caller sends their messages next, or marks them as unpublished if that fails.
    """
    c = chunks.c
    same = {"state": "queued", "attempts": 0, "published_at": now}
    for some in _batches([(job.job_id, chunk) for job in new for chunk in job.chunks]):
        rows = [(job_id, chunk.number, chunk.first_row, chunk.rows, chunk.body) for job_id, chunk in some]
        keys = (c.job_id, c.number, c.first_row, c.rows, c.body)
        if connection.dialect.name == "postgresql":
            columns = [*rows_parameter(connection, rows, *keys).c, *_labelled(chunks, same)]
            names = [column.name for column in columns]
            connection.execute(insert(chunks).from_select(names, select(*columns)))
        else:
            names = [column.name for column in keys]
            connection.execute(insert(chunks), [{**dict(zip(names, row, strict=True)), **same} for row in rows])


def _labelled(table: Table, values: Mapping[str, Any]) -> list[Label[Any]]:
    """Values that all rows share."""
    return [literal(value, table.c[name].type).label(name) for name, value in values.items()]


def _batches(all_chunks: Sequence[tuple[str, NewChunk]]) -> Iterator[Sequence[tuple[str, NewChunk]]]:
    for start in range(0, len(all_chunks), BATCH_CHUNKS):
        yield all_chunks[start : start + BATCH_CHUNKS]


def _as_new(job_id: str, now: datetime) -> Inserted:
    return Inserted(job_id, is_new=True, same_digest=True, created_at=iso(now))


def _find_existing(connection: Connection, waiting: Iterable[NewJob], now: datetime) -> dict[str, Inserted]:
    """Find the jobs that exist instead of those that were not inserted."""
    j = jobs.c
    keys = [job.idempotency_key for job in waiting if job.idempotency_key is not None]
    wanted = select(j.idempotency_key, j.job_id, j.digest, j.created_at).where(j.idempotency_key.in_(keys))
    holders = {row.idempotency_key: row for row in connection.execute(wanted)} if keys else {}
    found = {}
    for job in waiting:
        holder = holders.get(job.idempotency_key)
        if job.idempotency_key is None:
            found[job.job_id] = _as_new(job.job_id, now)
        elif holder is not None:
            is_own = holder.job_id == job.job_id
            same = holder.digest == job.digest
            found[job.job_id] = Inserted(holder.job_id, is_new=is_own, same_digest=same, created_at=holder.created_at)
    return found
