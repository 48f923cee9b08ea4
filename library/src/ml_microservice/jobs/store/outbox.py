"""The outbox: chunks whose messages were lost, and webhooks that are due. Concurrent callers get different ones."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from ml_microservice.jobs.job import ChunkRef
from ml_microservice.jobs.store.claims import keys_of, same_chunk
from ml_microservice.jobs.store.tables import chunks, jobs

ARRIVES_WITHIN = timedelta(seconds=5)
"""A message that is not in an empty queue after so long is lost."""
LOST_AFTER = timedelta(minutes=5)
"""A message counts as lost after so long, though others are in the queue."""
WEBHOOK_TIME = timedelta(minutes=2)
"""Time for a caller to send the webhooks that it got, before another gets them."""


def free_lapsed(connection: Connection, now: datetime, limit: int) -> None:
    """Queue the chunks whose lease has expired."""
    c = chunks.c
    lapsed = select(c.job_id, c.number).where(c.state == "running", c.lease_until < now).limit(limit)
    refs = [(row.job_id, row.number) for row in connection.execute(lapsed.with_for_update(skip_locked=True))]
    if refs:
        freed = {"state": "queued", "claim": None, "lease_until": None, "published_at": None}
        connection.execute(update(chunks).where(same_chunk(keys_of(connection, refs))).values(**freed))


def take_unpublished(
    connection: Connection, now: datetime, limit: int, *, queue_is_empty: bool
) -> list[tuple[ChunkRef, bool]]:
    """Take queued chunks that seem to have no message. They count as published from now on.

    Returns:
        Their keys, and whether their jobs have several chunks.
    """
    c = chunks.c
    edge = now - (ARRIVES_WITHIN if queue_is_empty else LOST_AFTER)
    lost = (
        select(c.job_id, c.number, (jobs.c.chunks > 1).label("is_bulk"))
        .select_from(chunks.join(jobs, jobs.c.job_id == c.job_id))
        .where(c.state == "queued", or_(c.published_at.is_(None), c.published_at < edge))
        .limit(limit)
        .with_for_update(of=chunks, skip_locked=True)
    )
    taken = [((row.job_id, row.number), bool(row.is_bulk)) for row in connection.execute(lost)]
    if taken:
        mark_published(connection, [ref for ref, _ in taken], now)
    return taken


def mark_published(connection: Connection, refs: Collection[ChunkRef], when: datetime | None) -> None:
    """Store when the messages of chunks were sent; None if they were not."""
    c = chunks.c
    asked = keys_of(connection, refs)
    of_these = select(c.job_id, c.number).select_from(chunks.join(asked, same_chunk(asked)))
    locked = of_these.where(c.state == "queued").order_by(c.job_id, c.number).with_for_update(of=chunks)
    queued = [(row.job_id, row.number) for row in connection.execute(locked)]
    if queued:
        mine = keys_of(connection, queued)
        connection.execute(update(chunks).where(same_chunk(mine)).values(published_at=when))


def take_webhooks(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Take jobs whose webhooks are due; their ids. No other caller gets them for some time."""
    j = jobs.c
    due = select(j.job_id).where(j.webhook_state == "pending", j.webhook_at <= now).order_by(j.webhook_at).limit(limit)
    ids = list(connection.execute(due.with_for_update(skip_locked=True)).scalars())
    if ids:
        connection.execute(update(jobs).where(j.job_id.in_(ids)).values(webhook_at=now + WEBHOOK_TIME))
    return ids


def mark_webhook(connection: Connection, job_id: str, delivered: bool, next_at: datetime | None) -> None:
    """Store the outcome of a webhook. If it was not delivered and has no next time, it has failed."""
    j = jobs.c
    state = "delivered" if delivered else "pending" if next_at is not None else "failed"
    values = {"webhook_state": state, "webhook_at": None if delivered else next_at}
    connection.execute(update(jobs).where(j.job_id == job_id).values(webhook_attempts=j.webhook_attempts + 1, **values))
