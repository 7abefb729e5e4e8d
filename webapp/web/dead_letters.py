"""`/stores/<store>/dead-letters`: messages that their consumers gave up on."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from webapp.queries.dead_letters import DeadLetterPage, DeadLettersPage
from webapp.web import paths
from webapp.web.context import source

bp = Blueprint("dead_letters", __name__, url_prefix="/stores/<store>/dead-letters")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """Dead letters, newest first."""
    page = DeadLettersPage.from_args(source(store), request.args)
    return render_template("dead_letters/index.html", store=store, page=page)


@bp.get("/<anyname:id>")
def show(store: str, id: str) -> ResponseReturnValue:
    """One dead letter whole."""
    return render_template("dead_letters/show.html", store=store, page=DeadLetterPage.load(source(store), id))
