"""`/stores/<store>/types`: the types of events, and one type."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from webapp.queries.types import TypePage, TypesPage
from webapp.web import paths
from webapp.web.context import source

bp = Blueprint("types", __name__, url_prefix="/stores/<store>/types")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """All types with their counts."""
    return render_template("types/index.html", store=store, page=TypesPage.from_args(source(store), request.args))


@bp.get("/<anyname:type>")
def show(store: str, type: str) -> ResponseReturnValue:
    """One type: its numbers, its latest events, the fields of their payloads."""
    return render_template("types/show.html", store=store, page=TypePage.load(source(store), type))
