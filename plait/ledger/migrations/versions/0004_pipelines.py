"""Pipelines, their runs, and how far their lists have been read."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("status IN ('queued','running')")
_NIGHT = sa.text("night IS NOT NULL")


def upgrade() -> None:
    """Create what a nightly sync keeps."""
    op.create_table(
        "sync_cursor",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("stream", sa.String, primary_key=True),
        sa.Column("position", sa.JSON),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_table(
        "pipeline",
        *(sa.Column(name, sa.String, primary_key=True) for name in ("account", "kind", "id")),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("tags", sa.JSON),
        sa.Column("changed_at", sa.Float),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("gone_at", sa.Float),
    )
    op.create_table(
        "pipeline_run",
        *(sa.Column(name, sa.String, primary_key=True) for name in ("account", "kind", "id")),
        *(sa.Column(name, sa.String, nullable=False) for name in ("pipeline_id", "status", "word")),
        sa.Column("trigger", sa.String),
        sa.Column("started_at", sa.Float, nullable=False),
        *(sa.Column(name, sa.Float) for name in ("ended_at", "seconds")),
        sa.Column("rows", sa.BigInteger),
        *(sa.Column(name, sa.String) for name in ("error", "log_tail", "digest", "night")),
        sa.Column("generation", sa.Integer),
        sa.Column("triggered_at", sa.Float),
    )
    op.create_index(
        "pipeline_run_status", "pipeline_run", ["account", "kind", "pipeline_id", "status", "started_at"]
    )
    op.create_index("pipeline_run_started", "pipeline_run", ["account", "kind", "started_at"])
    op.create_index(
        "pipeline_run_open",
        "pipeline_run",
        ["account", "kind", "started_at"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index(
        "pipeline_run_night", "pipeline_run", ["night"], sqlite_where=_NIGHT, postgresql_where=_NIGHT
    )


def downgrade() -> None:
    """Remove it all; the vendor has it still, save for what happened in which night."""
    for table in ("pipeline_run", "pipeline", "sync_cursor"):
        op.drop_table(table)
