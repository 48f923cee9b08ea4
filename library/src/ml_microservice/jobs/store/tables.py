"""The tables of jobs, on SQLite and PostgreSQL. A change here needs a migration; a test compares both."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from ml_microservice.database.columns import Document, Id, Moment, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Id, primary_key=True),
    Column("state", Text, nullable=False, comment="queued, running, succeeded, failed, cancelled"),
    Column("media_type", Text, nullable=False, comment="Of the body, and by default of the result"),
    Column("is_single", Boolean, nullable=False, comment="Whether the body is one object, answered as /predict does"),
    Column("idempotency_key", Text, unique=True, comment="As the caller sent it"),
    Column("digest", Text, nullable=False, comment="SHA-256 of media type and body: what a repeated key must repeat"),
    Column("rows", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("rows_done", Integer, nullable=False, comment="Of finished chunks"),
    Column("rows_failed", Integer, nullable=False, comment="Of those, the ones answered by a problem"),
    Column("chunks_done", Integer, nullable=False),
    Column("problem", Document, comment="Why it failed, as RFC 9457 has it"),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment, comment="When a worker first took a chunk"),
    Column("finished_at", Moment),
    Column("expires_at", Moment, comment="When it is deleted; known once it is finished"),
    Column("webhook_url", Text),
    Column("webhook_state", Text, comment="pending, delivered, failed"),
    Column("webhook_attempts", Integer, nullable=False),
    Column("webhook_at", Moment, comment="When it is tried next"),
    CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="jobs_state"),
    Index("jobs_created_at", "created_at", "job_id"),
    Index("jobs_state_created_at", "state", "created_at", "job_id"),
    Index("jobs_expires_at", "expires_at"),
    Index("jobs_webhook_at", "webhook_at"),
)

chunks = Table(
    "job_chunks",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, comment="From 0, in the order of the rows"),
    Column("first_row", Integer, nullable=False, comment="Its place among the rows of the job, from 0"),
    Column("rows", Integer, nullable=False),
    Column(
        "state", Text, nullable=False, comment="queued, running, done; stopped once its job has failed or is cancelled"
    ),
    Column("attempts", Integer, nullable=False, comment="How often a worker began it"),
    Column("published_at", Moment, comment="When a message for it was last sent"),
    Column("claim", Id, comment="Of the worker that has it; once another has it, no longer"),
    Column("worker", Text),
    Column("lease_until", Moment, comment="When another may take it"),
    Column("started_at", Moment, comment="Of the last attempt"),
    Column("finished_at", Moment),
    # Large columns come last: SQLite reads a row from its start, so counting never reads them.
    Column("body", LargeBinary, comment="Unless it is in the storage; none once it is of no use any more"),
    Column("result", LargeBinary, comment="Unless it is in the storage"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'stopped')", name="job_chunks_state"),
    Index("job_chunks_state_lease_until", "state", "lease_until"),
    Index("job_chunks_state_published_at", "state", "published_at"),
)
