"""The store's own tables. Text in them is what was written; only counters and checkpoints ever change."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.columns import EventId, LongText, Name, UtcDateTime, table_arguments

metadata = sa.MetaData()

logs = sa.Table(
    "projectionist_logs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", Name(64), nullable=False, unique=True),
    sa.Column("head", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("streams", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("recorded_at", UtcDateTime),
    sa.Column("derived_from", Name(150)),
    sa.Column("retired_at", UtcDateTime),
    sa.Column("ordering", Name(8), nullable=False, server_default="dense"),
    sa.Column("counted", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("counted_streams", sa.BigInteger, nullable=False, server_default="0"),
    **table_arguments,
)
"""A log and its counter row: in a dense log whoever appends holds it until commit, so that positions are in order of commit.

`counted` is the position, and `counted_streams` the number of streams, up to which its types' totals are brought.
"""

types = sa.Table(
    "projectionist_types",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("log_id", sa.Integer, sa.ForeignKey("projectionist_logs.id"), nullable=False),
    sa.Column("kind", Name(9), nullable=False),
    sa.Column("name", Name(150), nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("first_at", UtcDateTime),
    sa.Column("last_at", UtcDateTime),
    sa.UniqueConstraint("log_id", "kind", "name", name="projectionist_types_name"),
    **table_arguments,
)
"""Types of events and of aggregates in a log, counted every thousand events or so, so that a page has few to count."""

streams = sa.Table(
    "projectionist_streams",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("type_id", sa.Integer, sa.ForeignKey("projectionist_types.id"), nullable=False),
    sa.Column("aggregate_id", Name(255), nullable=False),
    sa.Column("continues", sa.BigInteger),
    sa.Column("continued_by", sa.BigInteger),
    sa.UniqueConstraint("type_id", "aggregate_id", name="projectionist_streams_name"),
    **table_arguments,
)
"""One number for (log, type, id), which keeps the indexes of events narrow. The log's id stands in its upper bits.

A stream that was closed names the one that continues it, and that one names it in return.
"""

events = sa.Table(
    "projectionist_events",
    metadata,
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
    sa.Index("projectionist_events_type", "type_id", "position"),
    sa.Index("projectionist_events_correlation", "correlation_id"),
    sqlite_with_rowid=False,
    **table_arguments,
)

count_step = 1000
"""The append that reaches a multiple of this position counts its log's types up."""

stream_bits = 40
"""A stream's id is the log's id shifted by this, plus its number in the log: made under the counter, read back by none."""

snapshots = sa.Table(
    "projectionist_snapshots",
    metadata,
    sa.Column("stream_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", Name(64), nullable=False),
    sa.Column("state", LongText(), nullable=False),
    sa.Column("taken_at", UtcDateTime, nullable=False),
    sa.PrimaryKeyConstraint("stream_id", "version", name="projectionist_snapshots_key"),
    **table_arguments,
)
"""States of aggregates after a version, folded by code with that fingerprint: a shortcut that may be thrown away."""

subject_keys = sa.Table(
    "projectionist_subject_keys",
    metadata,
    sa.Column("subject", Name(255), primary_key=True),
    sa.Column("wrapped_key", LongText()),
    sa.Column("master_key", Name(64)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("forgotten_at", UtcDateTime),
    **table_arguments,
)
"""The key of each person's data, wrapped by the master key of that name; forgetting the person empties it for good."""

publishers = sa.Table(
    "projectionist_publishers",
    metadata,
    sa.Column("name", Name(64), primary_key=True),
    sa.Column("log", Name(64), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", Name(100)),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_expires_at", UtcDateTime),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    **table_arguments,
)
"""How far each publisher of the outbox got in its log, under a lease with a fencing epoch."""

deliveries = sa.Table(
    "projectionist_deliveries",
    metadata,
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
    sa.Index("projectionist_deliveries_retry", "publisher", "retry_at"),
    sa.Index("projectionist_deliveries_stream", "publisher", "stream_id", "position"),
    sa.Index("projectionist_deliveries_dead", "dead_at"),
    **table_arguments,
)
"""Events that a publisher passed without delivering them.

To be tried again (retry_at), held up behind an earlier one of their stream (neither time), dead (dead_at), or discarded
by a person for a reason (discarded_at beside dead_at), which is kept.
"""
