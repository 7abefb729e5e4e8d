"""Logs, types, streams and events, the latter append-only by triggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from webapp.store.columns import EventId, LongText, Name, UtcDateTime
from webapp.store.migrations.steps import create_table, create_triggers

revision = "store_0001"
down_revision = None
branch_labels = ("store",)
depends_on = None


def upgrade() -> None:
    create_table(
        "projectionist_logs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", Name(64), nullable=False, unique=True),
        sa.Column("head", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("streams", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("recorded_at", UtcDateTime),
        sa.Column("derived_from", Name(150)),
        sa.Column("retired_at", UtcDateTime),
    )
    create_table(
        "projectionist_types",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_id", sa.Integer, sa.ForeignKey("projectionist_logs.id"), nullable=False),
        sa.Column("kind", Name(9), nullable=False),
        sa.Column("name", Name(150), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("first_at", UtcDateTime),
        sa.Column("last_at", UtcDateTime),
        sa.UniqueConstraint("log_id", "kind", "name", name="projectionist_types_name"),
    )
    create_table(
        "projectionist_streams",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type_id", sa.Integer, sa.ForeignKey("projectionist_types.id"), nullable=False),
        sa.Column("aggregate_id", Name(255), nullable=False),
        sa.UniqueConstraint("type_id", "aggregate_id", name="projectionist_streams_name"),
    )
    create_table(
        "projectionist_events",
        sa.Column("log_id", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("type_id", sa.Integer, nullable=False),
        sa.Column("id", EventId, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("correlation_id", Name(255)),
        sa.Column("causation_id", Name(255)),
        sa.Column("actor", Name(255)),
        sa.Column("data", LongText(), nullable=False),
        sa.Column("metadata", LongText(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "position", name="projectionist_events_position"),
        sa.UniqueConstraint("stream_id", "version", name="projectionist_events_version"),
        sa.UniqueConstraint("id", name="projectionist_events_id"),
        indexes={
            "projectionist_events_type": ["type_id", "position"],
            "projectionist_events_correlation": ["correlation_id"],
        },
        sqlite_with_rowid=False,
    )
    if context.config.attributes["triggers"]:
        create_triggers()
