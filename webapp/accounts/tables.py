"""Home's mutable tables: what changes or must be forgotten, and so can't be events."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.columns import BigId, LongText, Name, UtcDateTime, table_arguments

metadata = sa.MetaData()

settings = sa.Table(
    "projectionist_settings",
    metadata,
    sa.Column("key", Name(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    **table_arguments,
)

people = sa.Table(
    "projectionist_people",
    metadata,
    sa.Column("id", BigId(), primary_key=True, autoincrement=True),
    sa.Column("username", Name(64), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("is_disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("time_zone", Name(64)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    **table_arguments,
)

grants = sa.Table(
    "projectionist_grants",
    metadata,
    sa.Column("person_id", sa.BigInteger, sa.ForeignKey("projectionist_people.id"), nullable=False),
    sa.Column("role", Name(20), nullable=False),
    sa.Column("store", Name(64), nullable=False),
    sa.PrimaryKeyConstraint("person_id", "role", "store", name="projectionist_grants_key"),
    **table_arguments,
)
"""Who holds which role where; store `*` stands for all, since a NULL wouldn't keep the key unique."""

sessions = sa.Table(
    "projectionist_sessions",
    metadata,
    sa.Column("token_hash", Name(64), primary_key=True),
    sa.Column("person_id", sa.BigInteger, sa.ForeignKey("projectionist_people.id"), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("last_seen_at", UtcDateTime, nullable=False),
    sa.Column("address", Name(64)),
    sa.Column("browser", Name(255)),
    sa.Index("projectionist_sessions_person", "person_id"),
    **table_arguments,
)

login_attempts = sa.Table(
    "projectionist_login_attempts",
    metadata,
    sa.Column("id", BigId(), primary_key=True, autoincrement=True),
    sa.Column("username_hash", Name(64), nullable=False),
    sa.Column("address", Name(64), nullable=False),
    sa.Column("attempted_at", UtcDateTime, nullable=False),
    sa.Index("projectionist_login_attempts_username", "username_hash", "attempted_at"),
    sa.Index("projectionist_login_attempts_address", "address", "attempted_at"),
    **table_arguments,
)
"""Logins under way or failed in the last minutes. Usernames as hashes: people type passwords into the wrong field."""

replays = sa.Table(
    "projectionist_replays",
    metadata,
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
    sa.Column("result", LongText()),
    sa.Index("projectionist_replays_projection", "store", "projection"),
    sa.Index("projectionist_replays_status", "status"),
    **table_arguments,
)
"""Every replay asked for: who, why, wish and outcome; `result` is what a verification found, as JSON.

What it means is up to `webapp.replay`.
"""

alerts = sa.Table(
    "projectionist_alerts",
    metadata,
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
    sa.Index("projectionist_alerts_store", "store"),
    **table_arguments,
)
"""Problems that are open, and those that ended and nobody was told yet. `projection` is empty for a store's own.

`mark` is what the problem is recognized by; `clear_at` since when it isn't seen; `told_at` when its message last went.
"""

watches = sa.Table(
    "projectionist_watches",
    metadata,
    sa.Column("name", Name(20), primary_key=True),
    sa.Column("owner", Name(100)),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_expires_at", UtcDateTime),
    sa.Column("updated_at", UtcDateTime),
    sa.Column("memory", LongText()),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("retry_at", UtcDateTime),
    **table_arguments,
)
"""One row: the lease of the one process that watches and tells, what it has seen before, and its next try to tell."""
