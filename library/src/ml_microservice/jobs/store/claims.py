"""Claims of chunks: a worker claims a chunk for the time of a lease, renews the lease, or gives the chunk back.

To prevent deadlocks, every transaction locks chunks before jobs, and each kind in the order of its keys.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    and_,
    func,
    literal,
    or_,
    select,
    true,
    update,
)

from ml_microservice.database.columns import Moment
from ml_microservice.jobs.job import ChunkRef, ClaimedChunk
from ml_microservice.jobs.store.rows_parameter import rows_parameter
from ml_microservice.jobs.store.tables import chunks, jobs


def claim(
    connection: Connection,
    refs: Collection[ChunkRef],
    worker: str,
    *,
    is_free: ColumnElement[bool],
    max_attempts: int,
    now: datetime,
    lease_until: datetime,
) -> tuple[list[ClaimedChunk], list[ChunkRef]]:
    """Claim the free ones of some chunks for a worker.

    Returns:
        The claimed chunks, and the free ones whose attempts are used up.
    """
    c = chunks.c
    asked = keys_of(connection, refs)
    wanted = (
        select(c.job_id, c.number, c.first_row, c.rows, c.attempts, c.body, jobs.c.media_type, jobs.c.is_single)
        .select_from(chunks.join(asked, same_chunk(asked)).join(jobs, jobs.c.job_id == c.job_id))
        .where(is_free)
        .order_by(c.job_id, c.number)
        .with_for_update(of=chunks)
    )
    free = list(connection.execute(wanted))
    claimed = [
        ClaimedChunk(
            job_id=row.job_id,
            number=row.number,
            first_row=row.first_row,
            rows=row.rows,
            claim=str(uuid4()),
            attempts=row.attempts + 1,
            media_type=row.media_type,
            is_single=row.is_single,
            body=row.body,
        )
        for row in free
        if row.attempts < max_attempts
    ]
    if claimed:
        keys = [(chunk.job_id, chunk.number, chunk.claim) for chunk in claimed]
        taken = rows_parameter(connection, keys, c.job_id, c.number, c.claim)
        values = {"claim": taken.c.claim, "worker": worker, "lease_until": lease_until, "started_at": now}
        running = {"state": "running", "attempts": c.attempts + 1, **values}
        connection.execute(update(chunks).where(same_chunk(taken)).values(**running))
        _begin_jobs(connection, {chunk.job_id for chunk in claimed}, now)
    return claimed, [(row.job_id, row.number) for row in free if row.attempts >= max_attempts]


def free_chunks(now: datetime, *, redelivered: bool) -> ColumnElement[bool]:
    """The condition for chunks that may be claimed: queued ones, and those whose worker is gone.

    Args:
        now: the current time.
        redelivered: whether the broker says that the worker that had the message is gone.
    """
    c = chunks.c
    is_left = and_(c.state == "running", true() if redelivered else c.lease_until < now)
    return or_(c.state == "queued", is_left)


def renew(connection: Connection, claims: Collection[str], lease_until: datetime) -> set[str]:
    """Renew the leases of chunks; the claims that still hold."""
    c = chunks.c
    wanted = select(c.job_id, c.number, c.claim).where(c.state == "running", c.claim.in_(claims))
    rows = list(connection.execute(wanted.order_by(c.job_id, c.number).with_for_update()))
    if rows:
        mine = keys_of(connection, [(row.job_id, row.number) for row in rows])
        connection.execute(update(chunks).where(same_chunk(mine)).values(lease_until=lease_until))
    return {row.claim for row in rows}


def put_back(connection: Connection, claimed: Sequence[ClaimedChunk], now: datetime, *, attempts: int) -> None:
    """Queue chunks again, if the claims still hold, and add to their attempts.

    They count as published: the broker redelivers their message, or the worker has a new one sent.
    """
    c = chunks.c
    mine = lock_claimed(connection, [(chunk.job_id, chunk.number, chunk.claim) for chunk in claimed])
    running = [(row.job_id, row.number) for row in mine if row.state == "running"]
    if running:
        freed = {"state": "queued", "claim": None, "lease_until": None, "published_at": now}
        values = {**freed, "attempts": c.attempts + attempts}
        connection.execute(update(chunks).where(same_chunk(keys_of(connection, running))).values(**values))


def lock_claimed(connection: Connection, claimed: Collection[tuple[str, int, str]]) -> Sequence[Row[Any]]:
    """Lock chunks, given by job id, number and claim, whose claim holds or held until they were finished."""
    c = chunks.c
    asked = rows_parameter(connection, list(claimed), c.job_id, c.number, c.claim)
    wanted = (
        select(c.job_id, c.number, c.state, c.rows)
        .select_from(chunks.join(asked, and_(same_chunk(asked), c.claim == asked.c.claim)))
        .where(c.state.in_(("running", "done")))
        .order_by(c.job_id, c.number)
        .with_for_update(of=chunks)
    )
    return list(connection.execute(wanted))


def keys_of(connection: Connection, refs: Collection[ChunkRef]) -> FromClause:
    """A table of the keys of chunks, without duplicates."""
    return rows_parameter(connection, list(dict.fromkeys(refs)), chunks.c.job_id, chunks.c.number)


def same_chunk(table: FromClause) -> ColumnElement[bool]:
    """The condition that a row of `job_chunks` and one of a table have the same key."""
    return and_(chunks.c.job_id == table.c.job_id, chunks.c.number == table.c.number)


def _begin_jobs(connection: Connection, job_ids: Collection[str], now: datetime) -> None:
    j = jobs.c
    queued = select(j.job_id).where(j.job_id.in_(job_ids), j.state == "queued").order_by(j.job_id).with_for_update()
    begun = {"state": "running", "started_at": func.coalesce(j.started_at, literal(now, Moment()))}
    connection.execute(update(jobs).where(j.job_id.in_(queued)).values(**begun))
