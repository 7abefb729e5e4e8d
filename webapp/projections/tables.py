"""What a projection's own database remembers of it: how far it got, who works on it, which generation serves."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.columns import LongText, Name, UtcDateTime, table_arguments

metadata = sa.MetaData()

projections = sa.Table(
    "projectionist_projections",
    metadata,
    sa.Column("name", Name(64), primary_key=True),
    sa.Column("status", Name(10), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("swapping_to", sa.Integer),
    sa.Column("tables", LongText(), nullable=False),
    sa.Column("derived_log", Name(64)),
    sa.Column("failure", LongText()),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    **table_arguments,
)
"""One row a projection. `generation` is the one that readers see; `swapping_to` is an intent to serve another one."""

checkpoints = sa.Table(
    "projectionist_checkpoints",
    metadata,
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
    **table_arguments,
)
"""One row a generation: position by log, the projection's state, and the lease, all committed with the batch."""

skips = sa.Table(
    "projectionist_skips",
    metadata,
    sa.Column("projection", Name(64), nullable=False),
    sa.Column("log", Name(64), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("reason", LongText(), nullable=False),
    sa.Column("skipped_by", Name(64)),
    sa.Column("skipped_at", UtcDateTime, nullable=False),
    sa.PrimaryKeyConstraint("projection", "log", "position", name="projectionist_skips_key"),
    **table_arguments,
)
"""Events that a person told a projection to leave out, and why: a debt that stays visible."""
