"""Orderings of logs, streams that go on in another one, snapshots, keys of persons, and what waits to be delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from webapp.store.columns import LongText, Name, UtcDateTime
from webapp.store.migrations.steps import add_column, create_routine, create_table, replace_trigger

revision = "store_0003"
down_revision = "store_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("projectionist_logs", sa.Column("ordering", Name(8), nullable=False, server_default="dense"))
    add_column("projectionist_logs", sa.Column("counted", sa.BigInteger, nullable=False, server_default="0"))
    add_column("projectionist_logs", sa.Column("counted_streams", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE projectionist_logs SET counted = head, counted_streams = streams")  # so far with every append
    add_column("projectionist_streams", sa.Column("continues", sa.BigInteger))
    add_column("projectionist_streams", sa.Column("continued_by", sa.BigInteger))
    if context.config.attributes["triggers"]:
        replace_trigger("projectionist_streams_no_update", "projectionist_streams")  # that lets a stream be closed
    create_table(
        "projectionist_snapshots",
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", Name(64), nullable=False),
        sa.Column("state", LongText(), nullable=False),
        sa.Column("taken_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "version", name="projectionist_snapshots_key"),
    )
    create_table(
        "projectionist_subject_keys",
        sa.Column("subject", Name(255), primary_key=True),
        sa.Column("wrapped_key", LongText()),
        sa.Column("master_key", Name(64)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("forgotten_at", UtcDateTime),
    )
    create_table(
        "projectionist_publishers",
        sa.Column("name", Name(64), primary_key=True),
        sa.Column("log", Name(64), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("owner", Name(100)),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_expires_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    create_table(
        "projectionist_deliveries",
        sa.Column("publisher", Name(64), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", LongText()),
        sa.Column("retry_at", UtcDateTime),
        sa.Column("dead_at", UtcDateTime),
        sa.Column("discarded_at", UtcDateTime),
        sa.Column("discarded_by", Name(255)),
        sa.Column("reason", LongText()),
        sa.PrimaryKeyConstraint("publisher", "position", name="projectionist_deliveries_key"),
        indexes={
            "projectionist_deliveries_retry": ["publisher", "retry_at"],
            "projectionist_deliveries_stream": ["publisher", "stream_id", "position"],
            "projectionist_deliveries_dead": ["dead_at"],
        },
    )
    create_routine()
