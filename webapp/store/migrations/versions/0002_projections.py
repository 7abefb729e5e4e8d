"""Projections, their checkpoints, and the events they were told to skip."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.store.columns import LongText, Name, UtcDateTime, table_arguments

revision = "store_0002"
down_revision = "store_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "projectionist_projections",
        sa.Column("name", Name(64), primary_key=True),
        sa.Column("status", Name(10), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("swapping_to", sa.Integer),
        sa.Column("tables", LongText(), nullable=False),
        sa.Column("derived_log", Name(64)),
        sa.Column("failure", LongText()),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_checkpoints",
        sa.Column("projection", Name(64), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("positions", LongText(), nullable=False),
        sa.Column("state", LongText(), nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("fingerprint", Name(64), nullable=False),
        sa.Column("replay_id", sa.BigInteger),
        sa.Column("owner", Name(100)),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_expires_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", name="projectionist_checkpoints_key"),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_skips",
        sa.Column("projection", Name(64), nullable=False),
        sa.Column("log", Name(64), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("reason", LongText(), nullable=False),
        sa.Column("skipped_by", Name(64)),
        sa.Column("skipped_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("projection", "log", "position", name="projectionist_skips_key"),
        if_not_exists=True,
        **table_arguments,
    )
