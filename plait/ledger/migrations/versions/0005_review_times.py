"""Since when a review is missing from what its system lists, and which answers were acknowledged."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ANSWERED = sa.text("closed_by = 'answered' AND acknowledged_at IS NULL")


def upgrade() -> None:
    """Add both times; what was answered before counts as acknowledged."""
    op.add_column("review", sa.Column("missing_since", sa.Float))
    op.add_column("review_message", sa.Column("acknowledged_at", sa.Float))
    op.execute("UPDATE review_message SET acknowledged_at = closed_at WHERE closed_by = 'answered'")
    op.create_index(
        "review_message_answered",
        "review_message",
        ["account"],
        sqlite_where=_ANSWERED,
        postgresql_where=_ANSWERED,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_index("review_message_answered", "review_message")
    op.drop_column("review_message", "acknowledged_at")
    op.drop_column("review", "missing_since")
