"""What stepping through events found, as JSON."""

from __future__ import annotations

import json
from typing import Any

from webapp.replay.outcome import to_json
from webapp.replay.steps import Step, Steps
from webapp.replay.watching import Emission, RowChange, StateChange
from webapp.store.events import utc


def step_record(step: Step) -> dict[str, Any]:
    """One step, the event's payload left out."""
    event, error = step.event, step.error
    return {
        "log": event.log, "position": event.position, "type": event.type, "aggregate_type": event.aggregate_type,
        "aggregate_id": event.aggregate_id, "version": event.version, "recorded_at": utc(event.recorded_at),
        "outcome": step.outcome,
        "handlers": [{"type": form.type, "handler": form.handler} for form in step.forms],
        "rows": [_row_record(row) for row in step.rows],
        "hidden_rows": step.hidden_rows,
        "state": [_state_record(change) for change in step.state],
        "emitted": [_emission_record(one) for one in step.emitted],
        "error": None if error is None else {
            "message": error.message, "traceback": error.traceback, "state_before": dict(error.state),
            "rows": [_row_record(row) for row in error.rows],
        },
    }  # fmt: skip


def steps_record(found: Steps) -> dict[str, Any]:
    """All but the steps."""
    return {
        "from": found.started_from.value, "generation": found.generation, "after": found.after,
        "reached": found.reached, "folded": found.folded, "steps": len(found.steps),
        "failed_at": found.failed.place if found.failed is not None else None, "has_more": found.has_more,
        "notes": [found.beginning, *found.notes],
    }  # fmt: skip


def _row_record(row: RowChange) -> dict[str, Any]:
    return {
        "table": row.table, "change": row.kind, "key": to_json(row.key), "columns": list(row.columns),
        "before": to_json(row.before), "after": to_json(row.after),
    }  # fmt: skip


def _state_record(change: StateChange) -> dict[str, Any]:
    known = {"before": change.before, "after": change.after}
    return {"path": change.path, **{side: json.loads(text) for side, text in known.items() if text is not None}}


def _emission_record(one: Emission) -> dict[str, Any]:
    return {
        "aggregate_type": one.aggregate_type, "aggregate_id": one.aggregate_id, "type": one.event.type,
        "data": one.event.data_text, "metadata": one.event.metadata_text,
    }  # fmt: skip
