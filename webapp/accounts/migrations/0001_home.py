"""People, grants, sessions, login attempts, settings, and the replays that people start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from webapp.store.columns import BigId, Name, UtcDateTime, table_arguments

revision = "home_0001"
down_revision = None
branch_labels = ("home",)
depends_on = None


def upgrade() -> None:
    # "If not exists" because on MySQL and MariaDB a migration that was killed leaves what it had made.
    op.create_table(
        "projectionist_settings",
        sa.Column("key", Name(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_people",
        sa.Column("id", BigId(), primary_key=True, autoincrement=True),
        sa.Column("username", Name(64), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_disabled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("time_zone", Name(64)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_grants",
        sa.Column("person_id", sa.BigInteger, sa.ForeignKey("projectionist_people.id"), nullable=False),
        sa.Column("role", Name(20), nullable=False),
        sa.Column("store", Name(64), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "role", "store", name="projectionist_grants_key"),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_sessions",
        sa.Column("token_hash", Name(64), primary_key=True),
        sa.Column("person_id", sa.BigInteger, sa.ForeignKey("projectionist_people.id"), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
        sa.Column("address", Name(64)),
        sa.Column("browser", Name(255)),
        sa.Index("projectionist_sessions_person", "person_id"),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_login_attempts",
        sa.Column("id", BigId(), primary_key=True, autoincrement=True),
        sa.Column("username_hash", Name(64), nullable=False),
        sa.Column("address", Name(64), nullable=False),
        sa.Column("attempted_at", UtcDateTime, nullable=False),
        sa.Index("projectionist_login_attempts_username", "username_hash", "attempted_at"),
        sa.Index("projectionist_login_attempts_address", "address", "attempted_at"),
        if_not_exists=True,
        **table_arguments,
    )
    op.create_table(
        "projectionist_replays",
        sa.Column("id", BigId(), primary_key=True, autoincrement=True),
        sa.Column("store", Name(64), nullable=False),
        sa.Column("projection", Name(150), nullable=False),
        sa.Column("kind", Name(20), nullable=False),
        sa.Column("status", Name(20), nullable=False),
        sa.Column("wish", Name(20)),
        sa.Column("reason", sa.Text),
        sa.Column("started_by", Name(64)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("claimed_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("heartbeat_at", UtcDateTime),
        sa.Column("runner", Name(100)),
        sa.Column("generation", sa.Integer),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rate", sa.Float),
        sa.Column("phase", Name(20)),
        sa.Column("message", sa.Text),
        sa.Index("projectionist_replays_projection", "store", "projection"),
        sa.Index("projectionist_replays_status", "status"),
        if_not_exists=True,
        **table_arguments,
    )
