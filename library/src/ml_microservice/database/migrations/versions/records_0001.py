"""Predictions and feedback."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(UUID(as_uuid=False), "postgresql")
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = TIMESTAMP(timezone=True, precision=3).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "predictions",
        sa.Column("prediction_id", ID, primary_key=True),
        sa.Column("time", MOMENT, nullable=False, comment="When it was answered"),
        sa.Column("route", sa.Text, nullable=False, comment="How it was asked for: predict, batch, infer, job"),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("entity_id", sa.Text, comment="A whole number as text, too"),
        sa.Column("inputs", DOCUMENT, nullable=False, comment="By feature; pii is left out or hashed"),
        sa.Column("label", sa.Text, comment="The predicted class, of a classifier"),
        sa.Column("value", sa.Double, comment="The predicted number, of a regressor"),
        sa.Column("probabilities", DOCUMENT, comment="Of the likeliest classes"),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.CheckConstraint("(label IS NULL) <> (value IS NULL)", name="predictions_label_or_value"),
    )
    op.create_index("predictions_time", "predictions", ["time"])
    op.create_index("predictions_model_version_time", "predictions", ["model_version", "time"])
    op.create_index("predictions_entity_id", "predictions", ["entity_id"])
    op.create_table(
        "feedback",
        sa.Column("feedback_id", ID, primary_key=True),
        sa.Column("prediction_id", ID, nullable=False),
        sa.Column("label", sa.Text, comment="The true class, of a classifier"),
        sa.Column("value", sa.Double, comment="The true number, of a regressor"),
        sa.Column("observed_at", MOMENT, comment="When it became known, as the caller says"),
        sa.Column("source", sa.Text, comment="Where it comes from, as the caller says"),
        sa.Column("received_at", MOMENT, nullable=False, comment="Of several for one prediction, the last one counts"),
        sa.CheckConstraint("(label IS NULL) <> (value IS NULL)", name="feedback_label_or_value"),
    )
    op.create_index("feedback_prediction_id_received_at", "feedback", ["prediction_id", "received_at"])
    op.create_index("feedback_received_at", "feedback", ["received_at"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("feedback")
    op.drop_table("predictions")
