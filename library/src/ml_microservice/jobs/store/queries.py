"""Queries that read jobs and change nothing."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, or_, select, tuple_, union_all

from ml_microservice.database.columns import Id, Moment
from ml_microservice.jobs.job import STATES, Activity, Job, QueueStatistics, ResultChunk, RunningChunk
from ml_microservice.jobs.store.tables import chunks, jobs

MAX_COUNT = 1_000_000
"""Jobs are counted up to this number, because counting more of them every few seconds would load the database."""


def _every_job() -> Select[Any]:
    columns = [column for column in jobs.c if column is not jobs.c.digest]
    most = select(func.max(chunks.c.attempts)).where(chunks.c.job_id == jobs.c.job_id).scalar_subquery()
    return select(*columns, most.label("attempts"))


def _results() -> Select[Any]:
    c = chunks.c
    overlaps = and_(c.first_row < bindparam("stop"), c.first_row + c.rows > bindparam("first"))
    wanted = select(c.number, c.first_row, c.rows, c.result)
    return wanted.where(c.job_id == bindparam("of_job"), c.state == "done", overlaps).order_by(c.number)


# The most frequent statements are built once, since building one takes longer than executing it.
EVERY_JOB = _every_job()
JOBS_OF = EVERY_JOB.where(jobs.c.job_id.in_(bindparam("job_ids", expanding=True)))
RESULTS = _results()


def jobs_of(connection: Connection, job_ids: Collection[str]) -> dict[str, Job]:
    """The jobs with these ids that exist, by id."""
    found = [_job(row) for row in connection.execute(JOBS_OF, {"job_ids": list(job_ids)})]
    return {job.job_id: job for job in found}


def page(connection: Connection, state: str | None, before: tuple[str, str] | None, limit: int) -> list[Job]:
    """A page of jobs, newest first, before the job with a given time and id."""
    j = jobs.c
    wanted = EVERY_JOB.order_by(j.created_at.desc(), j.job_id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(j.state == state)
    if before is not None:
        wanted = wanted.where(tuple_(j.created_at, j.job_id) < tuple_(*before, types=[Moment(), Id]))
    return [_job(row) for row in connection.execute(wanted)]


def results(connection: Connection, job_id: str, first_row: int, rows: int) -> list[ResultChunk]:
    """The finished chunks that hold any of some rows, in order."""
    asked = {"of_job": job_id, "first": first_row, "stop": first_row + rows}
    return [ResultChunk(*row) for row in connection.execute(RESULTS, asked)]


def count_queued(connection: Connection, most: int) -> int:
    """The number of queued chunks, counted up to a limit."""
    some = select(chunks.c.number).where(chunks.c.state == "queued").limit(most).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def statistics(connection: Connection, now: datetime) -> QueueStatistics:
    """Counts and ages of what is in the queue."""
    c, j = chunks.c, jobs.c
    somes = [select(j.state).where(j.state == state).limit(MAX_COUNT).subquery() for state in STATES]
    counted = union_all(*(select(some.c.state, func.count()).group_by(some.c.state) for some in somes))
    by_state = {row[0]: row[1] for row in connection.execute(counted)}
    unfinished = select(c.state, func.count(), func.sum(c.attempts), func.count().filter(c.attempts > 0)).where(
        c.state.in_(("queued", "running"))
    )
    rows = {state: numbers for state, *numbers in connection.execute(unfinished.group_by(c.state))}
    is_refused = (j.state == "failed") & (j.problem["status"].as_integer() < 500)
    refused = select(j.job_id).where(is_refused).limit(MAX_COUNT).subquery()
    oldest = connection.execute(select(func.min(j.created_at, type_=Moment())).where(j.state == "queued")).scalar()
    return QueueStatistics(
        jobs={state: by_state.get(state, 0) for state in STATES},
        chunks_queued=rows["queued"][0] if "queued" in rows else 0,
        chunks_running=rows["running"][0] if "running" in rows else 0,
        oldest_queued_seconds=max(0.0, (now - datetime.fromisoformat(oldest)).total_seconds()) if oldest else 0.0,
        refused=connection.execute(select(func.count()).select_from(refused)).scalar_one(),
        retries=sum(started - firsts for _, started, firsts in rows.values()),
    )


def running(connection: Connection, limit: int) -> list[RunningChunk]:
    """The chunks that workers are running, the longest first."""
    c = chunks.c
    wanted = select(c.job_id, c.number, c.rows, c.worker, c.attempts, c.started_at).where(c.state == "running")
    return [RunningChunk(*row) for row in connection.execute(wanted.order_by(c.started_at).limit(limit))]


def activity(connection: Connection, now: datetime, seconds: float, keep: timedelta) -> Activity:
    """What was finished within the last seconds."""
    c, j = chunks.c, jobs.c
    since = now - timedelta(seconds=seconds)
    # The expiry follows from the end of the job, and has an index.
    is_recent = j.expires_at > since + keep
    finished = select(func.count()).where(is_recent, j.state == "succeeded")
    of_these = chunks.join(jobs, j.job_id == c.job_id)
    rows = select(func.coalesce(func.sum(c.rows), 0)).select_from(of_these)
    rows = rows.where(or_(j.state == "running", is_recent), c.finished_at > since)
    return Activity(seconds, connection.execute(finished).scalar_one(), connection.execute(rows).scalar_one())


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)
