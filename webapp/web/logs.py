"""`/stores/<store>/logs`: the logs, and one log."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from webapp.queries.logs import LogPage, LogsPage
from webapp.web import paths
from webapp.web.context import source

bp = Blueprint("logs", __name__, url_prefix="/stores/<store>/logs")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """All logs, those of one category together."""
    return render_template("logs/index.html", store=store, page=LogsPage.from_args(source(store), request.args))


@bp.get("/<anyname:log>")
def show(store: str, log: str) -> ResponseReturnValue:
    """One log: head, types, what is missing."""
    return render_template("logs/show.html", store=store, page=LogPage.load(source(store), log))
