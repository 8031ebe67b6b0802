"""Questions to people, the messages that put them, and every answer that was seen."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_OPEN = sa.text("state IN ('asked','waiting')")
_WAITING = sa.text("state = 'waiting'")
_TO_RESUME = sa.text("resume_at IS NOT NULL")
_UNCLOSED = sa.text("closed_at IS NULL")


def upgrade() -> None:
    """Create the three tables, with an index for every query."""
    _create_review()
    op.create_table(
        "review_message",
        sa.Column("review_id", sa.String, _of_review(), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("account", "channel_id")),
        sa.Column("lifetime", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String) for name in ("reason", "message_id", "shown")),
        *(sa.Column(name, sa.Float) for name in ("posted_at", "closed_at")),
        sa.Column("closed_by", sa.String),
    )
    op.create_index(
        "review_message_open",
        "review_message",
        ["account", "channel_id"],
        sqlite_where=_UNCLOSED,
        postgresql_where=_UNCLOSED,
    )
    op.create_index("review_message_id", "review_message", ["message_id"])
    op.create_table(
        "review_answer",
        sa.Column("review_id", sa.String, _of_review(), primary_key=True),
        sa.Column("nonce", sa.String, primary_key=True),
        sa.Column("through", sa.String, nullable=False),
        sa.Column("n", sa.Integer),
        sa.Column("standing", sa.String, nullable=False),
        sa.Column("said", sa.JSON),
        sa.Column("by", sa.String, nullable=False),
        *(sa.Column(name, sa.String) for name in ("why", "digest")),
        sa.Column("answered_at", sa.Float),
        sa.Column("seen_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("review_answer", "review_message", "review"):
        op.drop_table(table)


def _create_review() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("env", "run_key")),
        sa.Column("subject", sa.JSON),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("question", sa.JSON),
        *(sa.Column(name, sa.String, nullable=False) for name in ("digest", "state")),
        sa.Column("expires_in", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("on_expiry", sa.String, nullable=False),
        sa.Column("escalate_to", sa.String),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("flow_run_id", sa.String),
        *(sa.Column(name, sa.Float) for name in ("resume_at", "resumed_at")),
        sa.Column("decision", sa.JSON),
        *(sa.Column(name, sa.String) for name in ("decided_by", "decided_why", "decided_through")),
        sa.Column("decided_at", sa.Float),
        sa.Column("outcome", sa.String),
        sa.Column("reminders", sa.Integer, nullable=False),
        sa.Column("note", sa.String),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("closed_at", sa.Float),
    )
    op.create_index("review_open", "review", ["created_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("review_due", "review", ["expires_at"], sqlite_where=_WAITING, postgresql_where=_WAITING)
    op.create_index(
        "review_to_resume", "review", ["resume_at"], sqlite_where=_TO_RESUME, postgresql_where=_TO_RESUME
    )
    op.create_index("review_created", "review", ["created_at"])
    op.create_index("review_run", "review", ["run_key", "created_at"])


def _of_review() -> sa.ForeignKey:
    return sa.ForeignKey("review.id", ondelete="CASCADE")
