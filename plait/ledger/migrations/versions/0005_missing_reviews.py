"""Since when a question's review is missing from what its system lists."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the time."""
    op.add_column("review", sa.Column("missing_since", sa.Float))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("review", "missing_since")
