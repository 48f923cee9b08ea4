"""Giving chunks to workers, and taking them back.

Whoever locks rows locks those of chunks before those of jobs, and each by their keys, so that nobody waits for ever.
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
from ml_microservice.jobs.store.rows_parameter import given
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
    """Give a worker those chunks that are free; and say which are, but were begun too often."""
    c = chunks.c
    asked = given_chunks(connection, refs)
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
            *(row.job_id, row.number, row.first_row, row.rows, str(uuid4()), row.attempts + 1),
            *(row.media_type, row.is_single, row.body),
        )
        for row in free
        if row.attempts < max_attempts
    ]
    if claimed:
        taken = given(
            connection,
            [(chunk.job_id, chunk.number, chunk.claim) for chunk in claimed],
            *(c.job_id, c.number, c.claim),
        )
        values = {"claim": taken.c.claim, "worker": worker, "lease_until": lease_until, "started_at": now}
        running = {"state": "running", "attempts": c.attempts + 1, **values}
        connection.execute(update(chunks).where(same_chunk(taken)).values(**running))
        _begin_jobs(connection, {chunk.job_id for chunk in claimed}, now)
    return claimed, [(row.job_id, row.number) for row in free if row.attempts >= max_attempts]


def free_chunks(now: datetime, *, redelivered: bool) -> ColumnElement[bool]:
    """Which chunks may be claimed: those that nobody has, or whose worker has gone.

    Args:
        now: the moment.
        redelivered: the broker says that whoever had the message has gone.
    """
    c = chunks.c
    is_left = and_(c.state == "running", true() if redelivered else c.lease_until < now)
    return or_(c.state == "queued", is_left)


def renew(connection: Connection, claims: Collection[str], lease_until: datetime) -> set[str]:
    """Longer leases for chunks that are still their workers'."""
    c = chunks.c
    wanted = select(c.job_id, c.number, c.claim).where(c.state == "running", c.claim.in_(claims))
    rows = list(connection.execute(wanted.order_by(c.job_id, c.number).with_for_update()))
    if rows:
        mine = given_chunks(connection, [(row.job_id, row.number) for row in rows])
        connection.execute(update(chunks).where(same_chunk(mine)).values(lease_until=lease_until))
    return {row.claim for row in rows}


def put_back(connection: Connection, claimed: Sequence[ClaimedChunk], now: datetime, *, attempts: int) -> None:
    """Give chunks back to the queue, as if they had been begun `attempts` times more, where they are still ours.

    A message for them is said to be on its way: the broker's own, or the worker's.
    """
    c = chunks.c
    mine = lock_claimed(connection, [(chunk.job_id, chunk.number, chunk.claim) for chunk in claimed])
    running = [(row.job_id, row.number) for row in mine if row.state == "running"]
    if running:
        freed = {"state": "queued", "claim": None, "lease_until": None, "published_at": now}
        values = {**freed, "attempts": c.attempts + attempts}
        connection.execute(update(chunks).where(same_chunk(given_chunks(connection, running))).values(**values))


def lock_claimed(connection: Connection, claimed: Collection[tuple[str, int, str]]) -> Sequence[Row[Any]]:
    """Lock chunks (job id, number, claim) that are still their workers', or were when they were finished."""
    c = chunks.c
    asked = given(connection, list(claimed), *(c.job_id, c.number, c.claim))
    wanted = (
        select(c.job_id, c.number, c.state, c.rows)
        .select_from(chunks.join(asked, and_(same_chunk(asked), c.claim == asked.c.claim)))
        .where(c.state.in_(("running", "done")))
        .order_by(c.job_id, c.number)
        .with_for_update(of=chunks)
    )
    return list(connection.execute(wanted))


def given_chunks(connection: Connection, refs: Collection[ChunkRef]) -> FromClause:
    """A table of chunks' keys, each once."""
    return given(connection, list(dict.fromkeys(refs)), chunks.c.job_id, chunks.c.number)


def same_chunk(table: FromClause) -> ColumnElement[bool]:
    """Whether a row of chunks has the key of one of this table."""
    return and_(chunks.c.job_id == table.c.job_id, chunks.c.number == table.c.number)


def _begin_jobs(connection: Connection, job_ids: Collection[str], now: datetime) -> None:
    j = jobs.c
    queued = select(j.job_id).where(j.job_id.in_(job_ids), j.state == "queued").order_by(j.job_id).with_for_update()
    begun = {"state": "running", "started_at": func.coalesce(j.started_at, literal(now, Moment()))}
    connection.execute(update(jobs).where(j.job_id.in_(queued)).values(**begun))
