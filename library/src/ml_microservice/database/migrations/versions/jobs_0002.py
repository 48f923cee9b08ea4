"""Jobs and their chunks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(UUID(as_uuid=False), "postgresql")
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = TIMESTAMP(timezone=True, precision=3).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "jobs",
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("state", sa.Text, nullable=False, comment="queued, running, succeeded, failed, cancelled"),
        sa.Column("media_type", sa.Text, nullable=False, comment="Of the body, and by default of the result"),
        sa.Column(
            "is_single", sa.Boolean, nullable=False, comment="Whether the body is one object, answered as /predict does"
        ),
        sa.Column("idempotency_key", sa.Text, unique=True, comment="As the caller sent it"),
        sa.Column(
            "digest", sa.Text, nullable=False, comment="SHA-256 of media type and body: what a repeated key must repeat"
        ),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("rows_done", sa.Integer, nullable=False, comment="Of finished chunks"),
        sa.Column("rows_failed", sa.Integer, nullable=False, comment="Of those, the ones answered by a problem"),
        sa.Column("chunks_done", sa.Integer, nullable=False),
        sa.Column("problem", DOCUMENT, comment="Why it failed, as RFC 9457 has it"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, comment="When a worker first took a chunk"),
        sa.Column("finished_at", MOMENT),
        sa.Column("expires_at", MOMENT, comment="When it is deleted; known once it is finished"),
        sa.Column("webhook_url", sa.Text),
        sa.Column("webhook_state", sa.Text, comment="pending, delivered, failed"),
        sa.Column("webhook_attempts", sa.Integer, nullable=False),
        sa.Column("webhook_at", MOMENT, comment="When it is tried next"),
        sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="jobs_state"),
    )
    op.create_index("jobs_created_at", "jobs", ["created_at", "job_id"])
    op.create_index("jobs_state_created_at", "jobs", ["state", "created_at", "job_id"])
    op.create_index("jobs_expires_at", "jobs", ["expires_at"])
    op.create_index("jobs_webhook_at", "jobs", ["webhook_at"])
    op.create_table(
        "job_chunks",
        sa.Column("job_id", ID, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, comment="From 0, in the order of the rows"),
        sa.Column("first_row", sa.Integer, nullable=False, comment="Its place among the rows of the job, from 0"),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            comment="queued, running, done; stopped once its job has failed or is cancelled",
        ),
        sa.Column("attempts", sa.Integer, nullable=False, comment="How often a worker began it"),
        sa.Column("published_at", MOMENT, comment="When a message for it was last sent"),
        sa.Column("claim", ID, comment="Of the worker that has it; once another has it, no longer"),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", MOMENT, comment="When another may take it"),
        sa.Column("started_at", MOMENT, comment="Of the last attempt"),
        sa.Column("finished_at", MOMENT),
        sa.Column("body", sa.LargeBinary, comment="Unless it is in the storage; none once it is of no use any more"),
        sa.Column("result", sa.LargeBinary, comment="Unless it is in the storage"),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'stopped')", name="job_chunks_state"),
    )
    op.create_index("job_chunks_state_lease_until", "job_chunks", ["state", "lease_until"])
    op.create_index("job_chunks_state_published_at", "job_chunks", ["state", "published_at"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("job_chunks")
    op.drop_table("jobs")
