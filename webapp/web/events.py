"""`/stores/<store>/events`: the list under filters, and one event whole."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from webapp.queries.events import EventPage, EventsPage
from webapp.queries.texts import download_of
from webapp.web import paths
from webapp.web.context import source
from webapp.web.filters import zone

bp = Blueprint("events", __name__, url_prefix="/stores/<store>/events")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """Events, newest first, under the filters of the query string."""
    page = EventsPage.from_args(source(store), request.args, zone=zone())
    return render_template("events/index.html", store=store, page=page), page.status


@bp.get("/<anyname:log>/<int:position>")
def show(store: str, log: str, position: int) -> ResponseReturnValue:
    """One event."""
    page = EventPage.load(source(store), log, position, request.args)
    return render_template("events/show.html", store=store, page=page)


@bp.get("/<anyname:log>/<int:position>/payload", defaults={"part": "payload"})
@bp.get("/<anyname:log>/<int:position>/metadata", defaults={"part": "metadata"})
def download(store: str, log: str, position: int, part: str) -> ResponseReturnValue:
    """The payload or the metadata as it was stored, as a file."""
    event = source(store).event(log, position)
    file = download_of(event, part)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"', "X-Content-Type-Options": "nosniff"}
    return Response(file.content, mimetype=file.media_type, headers=headers)
