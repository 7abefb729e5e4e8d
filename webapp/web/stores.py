"""`/` and `/stores/<store>`: what there is and how it is doing."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from webapp.alerts.rows import list_open
from webapp.queries.stores import StoreOverview, load_stores
from webapp.web import context

bp = Blueprint("stores", __name__)


@bp.get("/")
def index() -> ResponseReturnValue:
    """All stores that the person may see, those with problems first."""
    sources = context.dashboard().sources
    lines = load_stores(list(context.stores()), sources.open, lambda name: sources.entry(name).description)
    return render_template("stores/index.html", lines=lines, alerts=list_open(context.home(), context.stores()))


@bp.get("/stores/<store>")
def show(store: str) -> ResponseReturnValue:
    """One store."""
    page = StoreOverview.load(context.source(store))
    entry, alerts = context.store_entry(store), list_open(context.home(), [store])
    return render_template("stores/show.html", store=store, entry=entry, page=page, alerts=alerts)
