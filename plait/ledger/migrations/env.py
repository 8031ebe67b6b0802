"""Alembic's entry: the ledger hands its own open transaction in."""

from alembic import context
from sqlmodel import SQLModel

from plait.ledger import tables

assert tables.EffectRow.metadata is SQLModel.metadata  # noqa: S101 - importing the tables fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
