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
    **table_arguments,
)
"""A log and its counter row: whoever appends holds it until commit, which is what makes positions dense and ordered."""

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
"""Types of events and of aggregates in a log, counted as they come, so that no page has to count."""

streams = sa.Table(
    "projectionist_streams",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("type_id", sa.Integer, sa.ForeignKey("projectionist_types.id"), nullable=False),
    sa.Column("aggregate_id", Name(255), nullable=False),
    sa.UniqueConstraint("type_id", "aggregate_id", name="projectionist_streams_name"),
    **table_arguments,
)
"""One number for (log, type, id), which keeps the indexes of events narrow. The log's id stands in its upper bits."""

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

stream_bits = 40
"""A stream's id is the log's id shifted by this, plus its number in the log: made under the counter, read back by none."""
