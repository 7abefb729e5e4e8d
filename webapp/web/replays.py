"""`/stores/<store>/replays`: the newest ones, and one as it goes, with pause, resume and cancel."""

from __future__ import annotations

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp.errors import ProjectionistError
from webapp.queries.replays import ReplayPage, ReplaysPage
from webapp.replay import jobs
from webapp.store.source import EventSource
from webapp.web import context
from webapp.web.context import requires

bp = Blueprint("replays", __name__, url_prefix="/stores/<store>/replays")
_refresh_seconds = "3"


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """The newest replays."""
    return render_template("replays/index.html", store=store, page=ReplaysPage.load(context.home(), store))


@bp.get("/<int(max=999999999999):id>")
def show(store: str, id: int) -> ResponseReturnValue:
    """One replay; with `refresh` in the address the page reloads itself, for browsers without JavaScript."""
    page = _load(store, id)
    response = make_response(render_template("replays/show.html", store=store, page=page))
    if "refresh" in request.args and page.is_moving:
        response.headers["Refresh"] = _refresh_seconds
    return response


@bp.get("/<int(max=999999999999):id>/progress")
def progress(store: str, id: int) -> ResponseReturnValue:
    """How far it is; tells the page to reload when it isn't `seen` any more, since other buttons fit then."""
    page = _load(store, id)
    if request.args.get("seen") != page.status:
        return Response("", headers={"HX-Refresh": "true"})
    return render_template("replays/_progress.html", store=store, page=page)


@bp.get("/<int(max=999999999999):id>/cancel")
@requires("operator")
def ask_cancel(store: str, id: int) -> ResponseReturnValue:
    """Asks whether it shall really end."""
    return render_template("replays/cancel.html", store=store, page=_load(store, id))


@bp.post("/<int(max=999999999999):id>/pause")
@requires("operator")
def pause(store: str, id: int) -> ResponseReturnValue:
    """Asks it to stop after the batch in hand."""
    job = jobs.find_replay(context.home(), id, store)
    jobs.pause_replay(context.home(), id)
    return _acted(store, job, "replay.pause_requested")


@bp.post("/<int(max=999999999999):id>/resume")
@requires("operator")
def resume(store: str, id: int) -> ResponseReturnValue:
    """Queues it again; it goes on after its last batch."""
    job = jobs.find_replay(context.home(), id, store)
    jobs.resume_replay(context.home(), id)
    return _acted(store, job, "replay.resumed")


@bp.post("/<int(max=999999999999):id>/cancel")
@requires("operator")
def cancel(store: str, id: int) -> ResponseReturnValue:
    """Ends it: what was built is dropped, what serves stays."""
    job = jobs.find_replay(context.home(), id, store)
    jobs.cancel_replay(context.home(), id)
    return _acted(store, job, "replay.cancel_requested")


def _acted(store: str, job: jobs.ReplayJob, act: str) -> ResponseReturnValue:
    context.record(act, {"replay": job.id, "projection": job.projection}, store=store)
    if act == "replay.cancel_requested":
        flash("A worker drops what was built, then the replay is cancelled.")
    return redirect(url_for("replays.show", store=store, id=job.id), 303)


def _load(store: str, id: int) -> ReplayPage:
    source: EventSource | None = None
    try:
        source = context.source(store)
    except ProjectionistError:
        # A replay is a row in home; its page stays when the store doesn't answer.
        context.store_entry(store)
    return ReplayPage.load(context.home(), source, store, id)
