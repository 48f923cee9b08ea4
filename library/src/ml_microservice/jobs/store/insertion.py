"""Storing new jobs: all of a group commit in one transaction of a few statements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Label, Table, insert, literal, select, true
from sqlalchemy.dialects import postgresql, sqlite

from ml_microservice.database.columns import iso
from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.job import Inserted, NewChunk, NewJob
from ml_microservice.jobs.store.rows_parameter import given
from ml_microservice.jobs.store.tables import chunks, jobs

CHUNKS_AT_ONCE = 500
"""In one statement: bodies in the database are small, but a large job has many."""
TRIES = 3


def insert_jobs(connection: Connection, new: Sequence[NewJob], now: datetime) -> list[Inserted]:
    """Store jobs with their chunks; what became of each, in their order.

    A job whose id is there already was stored by an earlier call whose answer did not arrive, and counts as new.
    """
    if any(not job.chunks for job in new):
        raise ValueError("a job has at least one chunk")
    # By key: two who store the same keys at a time wait for each other in the same order, so neither for ever.
    waiting = {job.job_id: job for job in sorted(new, key=lambda job: job.idempotency_key or "")}
    found: dict[str, Inserted] = {}
    for _ in range(TRIES):
        stored = _insert(connection, list(waiting.values()), now)
        _insert_chunks(connection, [waiting[job_id] for job_id in waiting if job_id in stored], now)
        found |= {job_id: _as_new(job_id, now) for job_id in stored}
        waiting = {job_id: job for job_id, job in waiting.items() if job_id not in stored}
        found |= _those_of_keys(connection, waiting.values(), now)
        # A job that had the key a moment ago may have been deleted since.
        waiting = {job_id: job for job_id, job in waiting.items() if job_id not in found}
        if not waiting:
            return [found[job.job_id] for job in new]
    raise DatabaseError("jobs of the same idempotency keys are stored and deleted at a time")


def _insert(connection: Connection, new: Sequence[NewJob], now: datetime) -> set[str]:
    """Store rows of jobs, unless id or key are there; the ids of those that were stored."""
    rows = [
        (
            *(job.job_id, job.media_type, job.is_single, job.idempotency_key, job.digest),
            *(sum(chunk.rows for chunk in job.chunks), len(job.chunks), job.webhook_url),
            "pending" if job.webhook_url else None,
        )
        for job in new
    ]
    j = jobs.c
    told = (j.job_id, j.media_type, j.is_single, j.idempotency_key, j.digest, j.rows, j.chunks, j.webhook_url)
    table = given(connection, rows, *told, j.webhook_state)
    zeros = dict.fromkeys(("rows_done", "rows_failed", "chunks_done", "webhook_attempts"), 0)
    columns = [*table.c, *_labelled(jobs, {"state": "queued", "created_at": now, **zeros})]
    # The condition tells SQLite that the ON of ON CONFLICT begins no join.
    rows_of = select(*columns).where(true())
    statement = _insert_or_leave(connection).from_select([column.name for column in columns], rows_of)
    return set(connection.execute(statement.returning(jobs.c.job_id)).scalars())


def _insert_or_leave(connection: Connection) -> Any:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(jobs).on_conflict_do_nothing()
    return sqlite.insert(jobs).on_conflict_do_nothing()


def _insert_chunks(connection: Connection, new: Sequence[NewJob], now: datetime) -> None:
    """Store the chunks of jobs.

    They count as published: whoever stores them sends the messages next, and takes it back if he cannot.
    """
    c = chunks.c
    same = {"state": "queued", "attempts": 0, "published_at": now}
    for some in _batches([(job.job_id, chunk) for job in new for chunk in job.chunks]):
        rows = [(job_id, chunk.number, chunk.first_row, chunk.rows, chunk.body) for job_id, chunk in some]
        told = (c.job_id, c.number, c.first_row, c.rows, c.body)
        if connection.dialect.name == "postgresql":
            columns = [*given(connection, rows, *told).c, *_labelled(chunks, same)]
            names = [column.name for column in columns]
            connection.execute(insert(chunks).from_select(names, select(*columns)))
        else:
            names = [column.name for column in told]
            connection.execute(insert(chunks), [{**dict(zip(names, row, strict=True)), **same} for row in rows])


def _labelled(table: Table, values: Mapping[str, Any]) -> list[Label[Any]]:
    """The same values for all rows."""
    return [literal(value, table.c[name].type).label(name) for name, value in values.items()]


def _batches(all_chunks: Sequence[tuple[str, NewChunk]]) -> Iterator[Sequence[tuple[str, NewChunk]]]:
    for start in range(0, len(all_chunks), CHUNKS_AT_ONCE):
        yield all_chunks[start : start + CHUNKS_AT_ONCE]


def _as_new(job_id: str, now: datetime) -> Inserted:
    return Inserted(job_id, is_new=True, same_digest=True, created_at=iso(now))


def _those_of_keys(connection: Connection, waiting: Iterable[NewJob], now: datetime) -> dict[str, Inserted]:
    """What the database has in place of jobs that were not stored."""
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
