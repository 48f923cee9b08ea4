"""What is to be sent: messages that were lost, and webhooks that are due. Of several who ask, each is given others."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from ml_microservice.jobs.job import ChunkRef
from ml_microservice.jobs.store.claims import given_chunks, same_chunk
from ml_microservice.jobs.store.tables import chunks, jobs

ARRIVES_WITHIN = timedelta(seconds=5)
"""That a message may take to be in the broker's queue; or, if that is empty, is lost."""
PUBLISHED_ANEW = timedelta(minutes=5)
"""After which a message counts as lost though there are others in the queue."""
WEBHOOK_TIME = timedelta(minutes=2)
"""That whoever is given webhooks has for them, before another is."""


def free_lapsed(connection: Connection, now: datetime, limit: int) -> None:
    """Queue chunks whose worker has gone."""
    c = chunks.c
    lapsed = select(c.job_id, c.number).where(c.state == "running", c.lease_until < now).limit(limit)
    refs = [(row.job_id, row.number) for row in connection.execute(lapsed.with_for_update(skip_locked=True))]
    if refs:
        freed = {"state": "queued", "claim": None, "lease_until": None, "published_at": None}
        connection.execute(update(chunks).where(same_chunk(given_chunks(connection, refs))).values(**freed))


def take_unpublished(
    connection: Connection, now: datetime, limit: int, *, queue_is_empty: bool
) -> list[tuple[ChunkRef, bool]]:
    """Queued chunks that no message seems to be on its way for, and whether their jobs have several.

    They count as published from now on.
    """
    c = chunks.c
    edge = now - (ARRIVES_WITHIN if queue_is_empty else PUBLISHED_ANEW)
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
    """Note when messages were sent for chunks; None if they were not."""
    c = chunks.c
    asked = given_chunks(connection, refs)
    of_these = select(c.job_id, c.number).select_from(chunks.join(asked, same_chunk(asked)))
    locked = of_these.where(c.state == "queued").order_by(c.job_id, c.number).with_for_update(of=chunks)
    queued = [(row.job_id, row.number) for row in connection.execute(locked)]
    if queued:
        mine = given_chunks(connection, queued)
        connection.execute(update(chunks).where(same_chunk(mine)).values(published_at=when))


def take_webhooks(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Ids of the jobs whose webhooks are due; nobody else is given them for some time."""
    j = jobs.c
    due = select(j.job_id).where(j.webhook_state == "pending", j.webhook_at <= now).order_by(j.webhook_at).limit(limit)
    ids = list(connection.execute(due.with_for_update(skip_locked=True)).scalars())
    if ids:
        connection.execute(update(jobs).where(j.job_id.in_(ids)).values(webhook_at=now + WEBHOOK_TIME))
    return ids


def mark_webhook(connection: Connection, job_id: str, delivered: bool, next_at: datetime | None) -> None:
    """Note what came of a webhook; without a next time, it has failed for good."""
    j = jobs.c
    state = "delivered" if delivered else "pending" if next_at is not None else "failed"
    values = {"webhook_state": state, "webhook_at": None if delivered else next_at}
    connection.execute(update(jobs).where(j.job_id == job_id).values(webhook_attempts=j.webhook_attempts + 1, **values))
