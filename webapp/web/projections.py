"""`/stores/<store>/projections`: the list, one projection, and what operators do with it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp.errors import Conflict, InvalidRequest, NotFound
from webapp.projections import lifecycle
from webapp.queries.projections import ProjectionLine, ProjectionPage, ProjectionsPage, find_line, gaps_in_words
from webapp.queries.rebuilds import RebuildPage
from webapp.queries.steps import StepsPage
from webapp.replay.jobs import request_replay
from webapp.store.native import EventStore
from webapp.web import context, paths
from webapp.web.context import requires

bp = Blueprint("projections", __name__, url_prefix="/stores/<store>/projections")
paths.install(bp)


@bp.get("")
def index(store: str) -> ResponseReturnValue:
    """All projections of a store, problems first."""
    return render_template("projections/index.html", store=store, page=_load_all(store))


@bp.get("/~list")  # ~ is escaped in names, so none is taken for it
def rows(store: str) -> ResponseReturnValue:
    """The list alone, for a page that refreshes itself."""
    return render_template("projections/_list.html", store=store, page=_load_all(store))


def _load_all(store: str) -> ProjectionsPage:
    definitions, is_home = context.domain().projections, context.store_entry(store).is_home
    return ProjectionsPage.load(context.source(store), context.home(), store, definitions, is_home=is_home)


@bp.get("/<name:name>")
def show(store: str, name: str) -> ResponseReturnValue:
    """One projection."""
    is_home = context.store_entry(store).is_home
    page = ProjectionPage.load(
        context.source(store), context.home(), store, context.domain().projections, name, request.args, is_home=is_home
    )
    text = render_template("projections/show.html", store=store, page=page, gaps_in_words=gaps_in_words)
    return text, page.http_status


@bp.get("/<name:name>/~standing")
def standing(store: str, name: str) -> ResponseReturnValue:
    """How one projection stands, for a page that refreshes itself."""
    line = find_line(context.source(store), context.home(), store, context.domain().projections, name)
    return render_template("projections/_standing.html", store=store, line=line)


# --- acts of operators ----------------------------------------------------------------------------------------------


@bp.post("/<name:name>/start")
@requires("operator")
def start(store: str, name: str) -> ResponseReturnValue:
    """Makes its tables and its checkpoint before the first event."""
    definition = context.domain().projections.get(name)
    if definition is None:
        raise NotFound("code for the projection", name, "The domain of this dashboard doesn't define it.")
    if lifecycle.init_projection(_writable(store), definition):
        context.record("projection.started", {"projection": name}, store=store)
        flash(f"{name} is started, before its first event. A worker that follows applies them, or rebuild it now.")
    else:
        flash(f"{name} was started already.", "late")
    return _back(store, name)


@bp.post("/<name:name>/pause")
@requires("operator")
def pause(store: str, name: str) -> ResponseReturnValue:
    """Lets it stand where it is."""
    lifecycle.pause_projection(_writable(store), name)
    context.record("projection.paused", {"projection": name}, store=store)
    flash(f"{name} is paused. It stands after the batch in hand, until somebody resumes it.")
    return _back(store, name)


@bp.post("/<name:name>/resume")
@requires("operator")
def resume(store: str, name: str) -> ResponseReturnValue:
    """Lets it run on, from a pause or from a failure."""
    lifecycle.resume_projection(_writable(store), name)
    context.record("projection.resumed", {"projection": name}, store=store)
    flash(f"{name} is resumed. A worker that follows goes on from its checkpoint.")
    return _back(store, name)


@bp.post("/<name:name>/skip")
@requires("operator")
def skip(store: str, name: str) -> ResponseReturnValue:
    """Leaves out the event that it failed at, which the form names, so that no other one is skipped unseen."""
    target, reason = _writable(store), request.form.get("reason", "").strip()
    if not reason:
        raise InvalidRequest("A skipped event stays visible as a debt, so say why it is skipped.", "reason")
    failure = _line(store, name).status.failure
    seen = f"{failure.log}:{failure.position}" if failure else None
    if seen is None or seen != request.form.get("event"):
        now = f"It stands at {seen} now." if seen else "It stands at no failed event now."
        raise Conflict(f"{name} doesn't stand at the event that you saw. {now}")
    log, position = lifecycle.skip_failed_event(target, name, reason, context.person().username)
    data = {"projection": name, "log": log, "position": position, "reason": reason}
    context.record("projection.event_skipped", data, store=store)
    flash(f"{log}:{position} is skipped, and {name} goes on. The skip stays visible on this page.")
    return _back(store, name)


@bp.post("/<name:name>/delete")
@requires("operator")
def delete(store: str, name: str) -> ResponseReturnValue:
    """Removes its tables and checkpoints, once its name was typed; events stay, and its derived log is retired."""
    target, line = _writable(store), _line(store, name)
    if request.form.get("confirm", "") != name:
        raise InvalidRequest(f"Nothing was deleted: type the projection's name, {name}, to confirm it.", "confirm")
    if line.replay is not None:
        raise Conflict(f"{name} has replay {line.replay.id} under way. Cancel it first, then delete.")
    lifecycle.delete_projection(target, name)
    context.record("projection.deleted", {"projection": name, "tables": list(line.status.tables)}, store=store)
    log = f" Its log {line.status.emits_to} is retired." if line.status.emits_to else ""
    flash(f"{name} is deleted, with its tables and checkpoints.{log}")
    return redirect(url_for("projections.index", store=store), 303)


@bp.get("/<name:name>/rebuild")
@requires("operator")
def prepare_rebuild(store: str, name: str) -> ResponseReturnValue:
    """What to know before a rebuild."""
    page = RebuildPage.load(_writable(store), context.home(), store, context.domain().projections, name)
    return render_template("projections/rebuild.html", store=store, page=page)


@bp.post("/<name:name>/rebuild")
@requires("operator")
def rebuild(store: str, name: str) -> ResponseReturnValue:
    """Queues a rebuild and shows its page; the one under way, where there is one already."""
    page = RebuildPage.load(_writable(store), context.home(), store, context.domain().projections, name)
    page = page.filled(request.form)
    if page.errors:
        return render_template("projections/rebuild.html", store=store, page=page), 400
    if page.line.replay is not None:
        running = page.line.replay.id
        flash(f"{name} has replay {running} under way already, so no other one was started. Here it is.", "late")
        return redirect(url_for("replays.show", store=store, id=running), 303)
    replay_id = request_replay(
        context.home(), store, name, started_by=context.person().username, reason=page.reason,
        batch_size=int(page.batch_size),
    )  # fmt: skip
    data = {"replay": replay_id, "projection": name, "reason": page.reason, "batch_size": int(page.batch_size)}
    context.record("replay.requested", data, store=store)
    return redirect(url_for("replays.show", store=store, id=replay_id), 303)


@bp.post("/<name:name>/verify")
@requires("operator")
def verify(store: str, name: str) -> ResponseReturnValue:
    """Queues a comparison with a fresh fold and shows its page; the replay under way, where there is one already."""
    page = RebuildPage.load(_writable(store), context.home(), store, context.domain().projections, name)
    if not page.line.is_started:
        raise Conflict(f"{name} was not started yet, so there is nothing to verify.")
    if page.line.replay is not None:
        running = page.line.replay.id
        flash(f"{name} has replay {running} under way. Verify it when that has ended. Here it is.", "late")
        return redirect(url_for("replays.show", store=store, id=running), 303)
    replay_id = request_replay(
        context.home(), store, name, kind="verify", started_by=context.person().username,
        batch_size=page.definition.batch_size,
    )  # fmt: skip
    context.record("replay.requested", {"replay": replay_id, "projection": name, "kind": "verify"}, store=store)
    return redirect(url_for("replays.show", store=store, id=replay_id), 303)


@bp.get("/<name:name>/steps")
@requires("operator")
def steps(store: str, name: str) -> ResponseReturnValue:
    """What it would do at each of some events; that runs its code, and writes nothing."""
    page = StepsPage.load(_writable(store), context.home(), store, context.domain().projections, name, request.args)
    return render_template("projections/steps.html", store=store, page=page), page.http_status


def _writable(store: str) -> EventStore:
    """The store, if projections may be run in it; raises Conflict where it is only looked at."""
    source = context.source(store)
    if context.store_entry(store).is_home:
        raise Conflict("This store tells what people did here. No projections run in it.")
    if not isinstance(source, EventStore):
        raise Conflict(
            f"The store {store} is attached read-only: its own framework runs its projections. "
            "The projection's page shows the commands to use."
        )
    return source


def _line(store: str, name: str) -> ProjectionLine:
    return find_line(context.source(store), context.home(), store, context.domain().projections, name)


def _back(store: str, name: str) -> ResponseReturnValue:
    return redirect(url_for("projections.show", store=store, name=name), 303)
