"""`projectionist_append`: the routine by which a server appends one event in one round trip, commit included.

It knows ordinary cases only. For all else, a name that is new, a refusal, an event that counts the types up, it answers
nothing and has changed nothing: then the ordinary way of an append takes its turn, and finds the words for what is wrong.
"""

from __future__ import annotations

import re

from webapp.store.dialects.listening import channel, presence
from webapp.store.tables import count_step, stream_bits

name = "projectionist_append"


def create_routine(dialect_name: str, is_mariadb: bool) -> str | None:
    """The statement that makes the routine on one database; None for SQLite, which has no routines and no round trips."""
    if dialect_name == "sqlite":
        return None
    return _postgresql if dialect_name == "postgresql" else _mysql(is_mariadb)


# The advisory lock is the one that every append takes first, so that from there on the log's row stands still. What the
# function returns: position, version, and the time in microseconds since 1970.
_postgresql = f"""
CREATE OR REPLACE FUNCTION {name}(
    in_log text, in_aggregate_type text, in_aggregate_id text, in_expected bigint, in_type text, in_id uuid,
    in_correlation text, in_causation text, in_actor text, in_data text, in_metadata text,
    OUT at_position bigint, OUT at_version bigint, OUT at_microsecond bigint
) LANGUAGE plpgsql AS $body$
DECLARE
    log_number integer; event_type integer; aggregate_type integer; stream bigint; closed bigint;
    last_version bigint; new_position bigint; new_streams bigint := 0; stream_number bigint; recorded timestamptz;
BEGIN
    -- As an expression, not PERFORM: that would be a statement to plan and run.
    IF pg_advisory_xact_lock(20260, hashtext(in_log)) IS NULL THEN RETURN; END IF;
    SELECT l.id,
        (SELECT t.id FROM projectionist_types t WHERE t.log_id = l.id AND t.kind = 'event' AND t.name = in_type),
        (SELECT t.id FROM projectionist_types t
         WHERE t.log_id = l.id AND t.kind = 'aggregate' AND t.name = in_aggregate_type)
    INTO log_number, event_type, aggregate_type FROM projectionist_logs l
    WHERE l.name = in_log AND l.ordering = 'dense' AND l.retired_at IS NULL AND mod(l.head + 1, {count_step}) <> 0;
    IF event_type IS NULL OR aggregate_type IS NULL THEN RETURN; END IF;
    SELECT s.id, s.continued_by, (
        SELECT e.version FROM projectionist_events e WHERE e.stream_id = s.id ORDER BY e.version DESC LIMIT 1
    ) INTO stream, closed, last_version
    FROM projectionist_streams s WHERE s.type_id = aggregate_type AND s.aggregate_id = in_aggregate_id;
    IF NOT FOUND THEN new_streams := 1; END IF;
    last_version := coalesce(last_version, 0);
    IF closed IS NOT NULL OR in_expected <> last_version THEN RETURN; END IF;
    UPDATE projectionist_logs SET head = head + 1, streams = streams + new_streams,
        recorded_at = greatest(recorded_at, clock_timestamp())
    WHERE id = log_number RETURNING head, streams, recorded_at INTO new_position, stream_number, recorded;
    IF new_streams = 1 THEN
        stream := log_number::bigint << {stream_bits} | stream_number;
        INSERT INTO projectionist_streams (id, type_id, aggregate_id) VALUES (stream, aggregate_type, in_aggregate_id);
    END IF;
    INSERT INTO projectionist_events (log_id, position, stream_id, version, type_id, id, recorded_at,
        correlation_id, causation_id, actor, data, metadata)
    VALUES (log_number, new_position, stream, last_version + 1, event_type, in_id, recorded,
        in_correlation, in_causation, in_actor, in_data, in_metadata);
    IF pg_try_advisory_lock({presence}) THEN
        IF pg_advisory_unlock({presence}) THEN END IF;
    ELSE
        PERFORM pg_notify('{channel}', in_log);
    END IF;
    at_position := new_position;
    at_version := last_version + 1;
    at_microsecond := extract(epoch FROM recorded) * 1000000;
END $body$
""".strip()


def _mysql(is_mariadb: bool) -> str:
    # The collations of the columns, or each comparison would convert and pass its index by.
    text = f"CHARACTER SET utf8mb4 COLLATE {'utf8mb4_nopad_bin' if is_mariadb else 'utf8mb4_0900_bin'}"
    long_text = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return f"""
CREATE PROCEDURE IF NOT EXISTS {name}(
    in_log VARCHAR(64) {text}, in_aggregate_type VARCHAR(150) {text}, in_aggregate_id VARCHAR(255) {text},
    in_expected BIGINT, in_type VARCHAR(150) {text}, in_id BINARY(16), in_correlation VARCHAR(255) {text},
    in_causation VARCHAR(255) {text}, in_actor VARCHAR(255) {text}, in_data {long_text}, in_metadata {long_text}
) SQL SECURITY INVOKER
attempt: BEGIN
    DECLARE log_number, event_type, aggregate_type INT;
    DECLARE new_position, stream_number, stream, closed, last_version BIGINT;
    DECLARE recorded DATETIME(6);
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT id, head + 1, streams, GREATEST(COALESCE(recorded_at, UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6))
    INTO log_number, new_position, stream_number, recorded
    FROM projectionist_logs WHERE name = in_log AND ordering = 'dense' AND retired_at IS NULL FOR UPDATE;
    SELECT e.id, a.id, s.id, s.continued_by, (SELECT MAX(v.version) FROM projectionist_events v WHERE v.stream_id = s.id)
    INTO event_type, aggregate_type, stream, closed, last_version
    FROM projectionist_types e JOIN projectionist_types a
    LEFT JOIN projectionist_streams s ON s.type_id = a.id AND s.aggregate_id = in_aggregate_id
    WHERE e.log_id = log_number AND e.kind = 'event' AND e.name = in_type
        AND a.log_id = log_number AND a.kind = 'aggregate' AND a.name = in_aggregate_type;
    IF event_type IS NULL OR closed IS NOT NULL OR in_expected <> COALESCE(last_version, 0) OR MOD(new_position, {count_step}) = 0
    THEN
        ROLLBACK;
        SELECT NULL;
        LEAVE attempt;
    END IF;
    IF stream IS NULL THEN
        SET stream_number = stream_number + 1;
        SET stream = log_number << {stream_bits} | stream_number;
        INSERT INTO projectionist_streams (id, type_id, aggregate_id) VALUES (stream, aggregate_type, in_aggregate_id);
    END IF;
    SET last_version = COALESCE(last_version, 0) + 1;
    UPDATE projectionist_logs SET head = new_position, streams = stream_number, recorded_at = recorded
    WHERE id = log_number;
    INSERT INTO projectionist_events (log_id, position, stream_id, version, type_id, id, recorded_at,
        correlation_id, causation_id, actor, data, metadata)
    VALUES (log_number, new_position, stream, last_version, event_type, in_id, recorded,
        in_correlation, in_causation, in_actor, in_data, in_metadata);
    COMMIT;
    SELECT CONCAT_WS(' ', new_position, last_version, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', recorded));
END
""".strip()


block = re.compile(rf"^(CREATE PROCEDURE IF NOT EXISTS {name}.*?^END);$", re.MULTILINE | re.DOTALL)
"""The routine in a script, whose inner semicolons the command-line clients of MySQL and MariaDB would stumble over."""
