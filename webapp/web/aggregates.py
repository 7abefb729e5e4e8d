"""`/stores/<store>/aggregates`: types of aggregates, those of one type, and one aggregate's history."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from webapp.queries.aggregates import AggregatePage, AggregatesPage, AggregateTypesPage
from webapp.web import paths
from webapp.web.context import domain, source
from webapp.web.filters import zone

bp = Blueprint("aggregates", __name__, url_prefix="/stores/<store>/aggregates")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """The types of aggregates with their counts."""
    return render_template("aggregates/index.html", store=store, page=AggregateTypesPage.load(source(store)))


@bp.get("/<name:type>")
def type(store: str, type: str) -> ResponseReturnValue:
    """The aggregates of one type."""
    page = AggregatesPage.from_args(source(store), type, request.args)
    return render_template("aggregates/type.html", store=store, page=page), page.status


@bp.get("/<name:type>/<anyname:id>")
def show(store: str, type: str, id: str) -> ResponseReturnValue:
    """One aggregate: its history, what changed at a version, and its state there."""
    page = AggregatePage.from_args(source(store), type, id, request.args, definitions=domain().aggregates, zone=zone())
    return render_template("aggregates/show.html", store=store, page=page), page.status
