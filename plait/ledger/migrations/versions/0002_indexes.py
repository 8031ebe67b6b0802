"""An index for every query that grows with the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_REJECTED = sa.text("state = 'rejected'")
_UNCLOSED = sa.text("outcome = 'open'")
_TO_COMPACT = sa.text("compacted_at IS NULL AND settled_at IS NOT NULL")


def upgrade() -> None:
    """Lists by age, retention, and the processes that retention may forget."""
    op.drop_index("effect_settled", "effect")
    op.drop_index("effect_run", "effect")
    op.create_index("effect_run", "effect", ["run_key", "created_at"])
    op.create_index("effect_created", "effect", ["created_at"])
    op.create_index(
        "effect_rejected", "effect", ["created_at"], sqlite_where=_REJECTED, postgresql_where=_REJECTED
    )
    op.create_index(
        "effect_to_compact", "effect", ["settled_at"], sqlite_where=_TO_COMPACT, postgresql_where=_TO_COMPACT
    )
    op.drop_index("attempt_open", "attempt")
    op.create_index(
        "attempt_open", "attempt", ["outcome", "holder"], sqlite_where=_UNCLOSED, postgresql_where=_UNCLOSED
    )
    op.create_index("attempt_holder", "attempt", ["holder"])


def downgrade() -> None:
    """Back to those of the first revision."""
    op.drop_index("attempt_holder", "attempt")
    op.drop_index("attempt_open", "attempt")
    op.create_index("attempt_open", "attempt", ["holder"], sqlite_where=_UNCLOSED, postgresql_where=_UNCLOSED)
    for name in ("effect_to_compact", "effect_rejected", "effect_created", "effect_run"):
        op.drop_index(name, "effect")
    op.create_index("effect_run", "effect", ["run_key"])
    op.create_index("effect_settled", "effect", ["settled_at"])
