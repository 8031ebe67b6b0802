"""Effects, their attempts, the processes that make them, and the locks of their units."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = sa.text("state IN ('intended','sent','unknown')")
_HELD = sa.text("holder IS NOT NULL")
_INCIDENT = sa.text("incident IS NOT NULL")
_UNCLOSED = sa.text("outcome = 'open'")
_TO_SWEEP = sa.text("next_sweep IS NOT NULL")


def upgrade() -> None:
    """Create the tables of effect-protocol.md §3."""
    op.create_table(
        "effect",
        sa.Column("external_id", sa.String, primary_key=True),
        sa.Column("intent", sa.String, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("env", "system", "operation", "run_key", "step")
        ),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("unit", sa.String),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("by_content", sa.Boolean, nullable=False),
        sa.Column("inputs", sa.JSON),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("holder", sa.String),
        sa.Column("claim_nonce", sa.String),
        *(sa.Column(name, sa.Float) for name in ("claimed_at", "lease_until", "next_look")),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("baseline", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("vendor_id", sa.String),
        sa.Column("reason", sa.String),
        sa.Column("incident", sa.JSON),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("settled_at", sa.Float),
        sa.Column("compacted_at", sa.Float),
        sa.UniqueConstraint("intent", "generation", name="effect_intent_generation"),
    )
    op.create_index("effect_vendor", "effect", ["system", "operation", "vendor_id"])
    op.create_index("effect_run", "effect", ["run_key"])
    op.create_index("effect_settled", "effect", ["settled_at"])
    op.create_index("effect_holder", "effect", ["holder"], sqlite_where=_HELD, postgresql_where=_HELD)
    op.create_index("effect_open", "effect", ["created_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index(
        "effect_incident", "effect", ["created_at"], sqlite_where=_INCIDENT, postgresql_where=_INCIDENT
    )
    op.create_table(
        "attempt",
        sa.Column(
            "external_id",
            sa.String,
            sa.ForeignKey("effect.external_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("nonce", sa.String, nullable=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("sent_at", sa.Float, nullable=False),
        sa.Column("send_by", sa.Float, nullable=False),
        sa.Column("quiet_at", sa.Float),
        sa.Column("quiet_by", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("wrote_late", sa.Boolean, nullable=False),
        sa.Column("absent_by", sa.String),
        sa.Column("next_sweep", sa.Float),
        sa.Column("sweeps", sa.Integer, nullable=False),
    )
    op.create_index("attempt_open", "attempt", ["holder"], sqlite_where=_UNCLOSED, postgresql_where=_UNCLOSED)
    op.create_index(
        "attempt_sweep", "attempt", ["next_sweep"], sqlite_where=_TO_SWEEP, postgresql_where=_TO_SWEEP
    )
    op.create_table(
        "process",
        sa.Column("holder", sa.String, primary_key=True),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("host", "hostname", "boot_id", "pid_namespace")
        ),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.String, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    op.create_table(
        "unit_lock",
        sa.Column("unit", sa.String, primary_key=True),
        sa.Column("external_id", sa.String),
        sa.Column("free_after", sa.Float, nullable=False),
    )
    op.create_index("unit_lock_effect", "unit_lock", ["external_id"])


def downgrade() -> None:
    """Remove them all."""
    for table in ("unit_lock", "process", "attempt", "effect"):
        op.drop_table(table)
