"""Open alerts, and the lease of the process that tells of them."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.columns import BigId, LongText, Name, UtcDateTime
from webapp.store.migrations.steps import create_table

revision = "home_0003"
down_revision = "home_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "projectionist_alerts",
        sa.Column("id", BigId(), primary_key=True, autoincrement=True),
        sa.Column("store", Name(64), nullable=False),
        sa.Column("kind", Name(20), nullable=False),
        sa.Column("projection", Name(255), nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("mark", LongText()),
        sa.Column("begun_at", UtcDateTime, nullable=False),
        sa.Column("clear_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("told_at", UtcDateTime),
        indexes={"projectionist_alerts_store": ["store"]},
    )
    create_table(
        "projectionist_watches",
        sa.Column("name", Name(20), primary_key=True),
        sa.Column("owner", Name(100)),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_expires_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime),
        sa.Column("memory", LongText()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("retry_at", UtcDateTime),
    )
