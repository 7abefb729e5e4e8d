"""`/stores/<store>/find?q=…`: the page that a text means, or the list of what it may mean."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp.queries.find import FindPage, Found
from webapp.web.context import source

bp = Blueprint("find", __name__, url_prefix="/stores/<store>/find")

_endpoints = {
    "event": "events.show",
    "log": "logs.show",
    "event type": "types.show",
    "aggregate type": "aggregates.type",
    "aggregate": "aggregates.show",
    "projection": "projections.show",
    "correlation": "events.index",
    "dead letter": "dead_letters.show",
}


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """Goes to the one thing that is meant, else lists what was found."""
    page = FindPage.from_text(source(store), request.args.get("q", ""))
    if page.only is not None:
        return redirect(_address(store, page.only), 303)
    addresses = [_address(store, found) for found in page.found]
    found = list(zip(page.found, addresses, strict=True))
    return render_template("find/index.html", store=store, page=page, found=found)


def _address(store: str, found: Found) -> str:
    endpoint = _endpoints[found.kind]
    known = endpoint if endpoint in current_app.view_functions else "stores.show"
    return url_for(known, store=store, **found.values)
