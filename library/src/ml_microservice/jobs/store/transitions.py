"""Transitions of jobs: finished, failed, cancelled, queued again, and deleted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    bindparam,
    case,
    column,
    delete,
    literal,
    null,
    select,
    update,
)

from ml_microservice.database.columns import Moment
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import ChunkRef, ClaimedChunk, FinishedChunk
from ml_microservice.jobs.store.claims import free_chunks, lock_claimed, same_chunk
from ml_microservice.jobs.store.rows_parameter import rows_parameter
from ml_microservice.jobs.store.tables import chunks, jobs

UNFINISHED = ("queued", "running")
EXPIRED_BATCH = 500
"""Expired jobs that one transaction deletes, so that no other waits long for it."""


def finish(connection: Connection, finished: Sequence[FinishedChunk], now: datetime, keep: timedelta) -> set[ChunkRef]:
    """Store the results of those chunks whose claims still hold, and count them; the chunks' keys."""
    by_ref = {(chunk.job_id, chunk.number): chunk for chunk in finished}
    mine = lock_claimed(connection, [(*ref, chunk.claim) for ref, chunk in by_ref.items()])
    # Idempotent: a chunk that is done by the same claim was stored by an earlier call whose answer got lost.
    running = [row for row in mine if row.state == "running"]
    if running:
        _store_results(connection, [by_ref[row.job_id, row.number] for row in running], now)
        totals: dict[str, list[int]] = {}
        for row in running:
            total = totals.setdefault(row.job_id, [0, 0, 0])
            for index, count in enumerate((1, row.rows, by_ref[row.job_id, row.number].rows_failed)):
                total[index] += count
        _count(connection, totals, now, keep)
    return {(row.job_id, row.number) for row in mine}


def _store_results(connection: Connection, finished: Sequence[FinishedChunk], now: datetime) -> None:
    # The body is not needed any more.
    values = {"state": "done", "finished_at": now, "lease_until": None, "body": None}
    rows = [(chunk.job_id, chunk.number, chunk.result) for chunk in finished]
    c = chunks.c
    if connection.dialect.name == "postgresql":
        table = rows_parameter(connection, rows, c.job_id, c.number, c.result)
        connection.execute(update(chunks).where(same_chunk(table)).values(**values, result=table.c.result))
    else:
        one = update(chunks).where(c.job_id == bindparam("of_job"), c.number == bindparam("of_number"))
        names = ("of_job", "of_number", "given_result")
        connection.execute(
            one.values(**values, result=bindparam("given_result")), [dict(zip(names, row, strict=True)) for row in rows]
        )


def _count(connection: Connection, totals: dict[str, list[int]], now: datetime, keep: timedelta) -> None:
    """Add to the counts of jobs. Their rows are locked last, because chunks of one job finish at the same time."""
    j = jobs.c
    rows = [(job_id, *total) for job_id, total in sorted(totals.items())]
    added = [column(name, Integer()) for name in ("new_chunks", "new_rows", "new_failed")]
    table = rows_parameter(connection, rows, j.job_id, *added)
    locked = (
        select(*table.c)
        .select_from(jobs.join(table, j.job_id == table.c.job_id))
        .order_by(j.job_id)
        .with_for_update(of=jobs)
        .subquery("locked")
    )
    is_last = j.chunks_done + locked.c.new_chunks == j.chunks
    ended = {name: case((is_last, value), else_=j[name]) for name, value in _ended("succeeded", now, keep).items()}
    counted = {
        "chunks_done": j.chunks_done + locked.c.new_chunks,
        "rows_done": j.rows_done + locked.c.new_rows,
        "rows_failed": j.rows_failed + locked.c.new_failed,
    }
    connection.execute(update(jobs).where(j.job_id == locked.c.job_id).values(**counted, **ended))


def fail(connection: Connection, chunk: ClaimedChunk, problem: dict[str, Any], now: datetime, keep: timedelta) -> None:
    """Fail the job of a chunk, if the claim of the chunk still holds."""
    c = chunks.c
    lock_job(connection, chunk.job_id)
    is_it = (c.job_id == chunk.job_id) & (c.number == chunk.number)
    wanted = select(c.number).where(is_it, c.claim == chunk.claim, c.state == "running")
    if connection.execute(wanted).first() is not None:
        stop(connection, chunk.job_id, "failed", now, keep, problem)


def give_up(
    connection: Connection, ref: ChunkRef, max_attempts: int, now: datetime, keep: timedelta, *, redelivered: bool
) -> bool:
    """Fail the job of a free chunk whose attempts are used up; whether it was failed."""
    c = chunks.c
    lock_job(connection, ref[0])
    is_it = (c.job_id == ref[0]) & (c.number == ref[1])
    wanted = select(c.first_row, c.rows, c.attempts).where(is_it, free_chunks(now, redelivered=redelivered))
    row = connection.execute(wanted).first()
    if row is None or row.attempts < max_attempts:
        return False
    stop(connection, ref[0], "failed", now, keep, gave_up(row.first_row, row.rows, row.attempts).as_json())
    return True


def gave_up(first_row: int, rows: int, attempts: int) -> Problem:
    """The problem for a job whose attempts all died or took too long."""
    which = f"row {first_row}" if rows == 1 else f"rows {first_row} to {first_row + rows - 1}"
    detail = f"The prediction of {which} (counted from 0) was started {attempts} times and never finished."
    return Problem(500, "job-gave-up", "The job was given up", detail)


def stop(
    connection: Connection,
    job_id: str,
    state: str,
    now: datetime,
    keep: timedelta,
    problem: dict[str, Any] | None = None,
) -> None:
    """End an unfinished job: its queued chunks never start, and the claims of its running ones end."""
    c, j = chunks.c, jobs.c
    # A failed job can be retried, a cancelled one cannot.
    no_body = {"body": None} if state == "cancelled" else {}
    unfinished = update(chunks).where(c.job_id == job_id, c.state.in_(UNFINISHED))
    connection.execute(unfinished.values(state="stopped", claim=None, lease_until=None, **no_body))
    ended = {**_ended(state, now, keep), "problem": problem}
    connection.execute(update(jobs).where(j.job_id == job_id, j.state.in_(UNFINISHED)).values(**ended))


def _ended(state: str, now: datetime, keep: timedelta) -> dict[str, ColumnElement[Any]]:
    at = literal(now, Moment())
    return {
        "state": literal(state, jobs.c.state.type),
        "finished_at": at,
        "expires_at": literal(now + keep, Moment()),
        "webhook_at": case((jobs.c.webhook_url.is_not(None), at), else_=null()),
    }


def restart(connection: Connection, job_id: str, now: datetime) -> list[ChunkRef] | None:
    """Queue the unfinished chunks of a failed job, with no attempts counted; None if the job has not failed."""
    c, j = chunks.c, jobs.c
    lock_job(connection, job_id)
    if connection.execute(select(j.job_id).where(j.job_id == job_id, j.state == "failed")).first() is None:
        return None
    stopped = select(c.number).where(c.job_id == job_id, c.state == "stopped").order_by(c.number)
    numbers = list(connection.execute(stopped).scalars())
    again = {"state": "queued", "attempts": 0, "published_at": now}
    connection.execute(update(chunks).where(c.job_id == job_id, c.state == "stopped").values(**again))
    unended = dict.fromkeys(("problem", "finished_at", "expires_at", "webhook_at"))
    webhook = {"webhook_state": case((j.webhook_url.is_not(None), "pending"), else_=null()), "webhook_attempts": 0}
    connection.execute(update(jobs).where(j.job_id == job_id).values(state="queued", **unended, **webhook))
    return [(job_id, number) for number in numbers]


def drop(connection: Connection, job_id: str) -> bool:
    """Delete a failed job; False if there is no such job."""
    j = jobs.c
    lock_job(connection, job_id)
    if connection.execute(select(j.job_id).where(j.job_id == job_id, j.state == "failed")).first() is None:
        return False
    connection.execute(delete(chunks).where(chunks.c.job_id == job_id))
    connection.execute(delete(jobs).where(j.job_id == job_id))
    return True


def expire(connection: Connection, now: datetime) -> list[str]:
    """Delete a batch of expired jobs; their ids."""
    j = jobs.c
    oldest = select(j.job_id).where(j.expires_at <= now).order_by(j.expires_at).limit(EXPIRED_BATCH)
    ids = list(connection.execute(oldest).scalars())
    lock_job(connection, *ids)
    # A job may have been queued again before it was locked.
    expired = list(connection.execute(select(j.job_id).where(j.job_id.in_(ids), j.expires_at <= now)).scalars())
    connection.execute(delete(chunks).where(chunks.c.job_id.in_(expired)))
    connection.execute(delete(jobs).where(j.job_id.in_(expired)))
    return expired


def lock_job(connection: Connection, *job_ids: str) -> None:
    """Lock all chunks of jobs, so that no other transaction changes them. On SQLite, a writer excludes all others."""
    if connection.dialect.name == "postgresql":
        c = chunks.c
        every = select(c.number).where(c.job_id.in_(job_ids)).order_by(c.job_id, c.number)
        connection.execute(every.with_for_update())
