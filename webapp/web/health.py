"""`/healthz`: whether this process can serve, for load balancers and container platforms."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from webapp.errors import ProjectionistError
from webapp.web.context import dashboard
from webapp.web.sources import StoreEntry

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def show() -> tuple[Response, int]:
    """503 only if home can't be reached; stores are reported as they were found last, and nothing waits for them."""
    parts = dashboard()
    try:
        with parts.home.database.reading(2.0) as connection:
            connection.exec_driver_sql("SELECT 1")
        home, status = "ok", 200
    except ProjectionistError:
        home, status = "unavailable", 503
    stores = {entry.name: _state(entry) for entry in parts.sources.entries() if not entry.is_home}
    return jsonify({"status": "ok" if status == 200 else "unavailable", "home": home, "stores": stores}), status


def _state(entry: StoreEntry) -> str:
    """A word or two, since this page is public: sentences hold addresses."""
    if entry.source is not None:
        return "open"
    return "not opened yet" if entry.failure is None else type(entry.failure).__name__
