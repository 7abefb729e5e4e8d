"""`/users`: people and their roles, for admins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp.accounts import people
from webapp.accounts.passwords import minimum_length, random_password
from webapp.accounts.roles import Grant, all_stores, checked_role, roles
from webapp.errors import InvalidRequest
from webapp.web.context import dashboard, home, person, requires

bp = Blueprint("users", __name__, url_prefix="/users")
_page_rows = 100


@bp.get("")
@requires("admin")
def index() -> str:
    """Everybody, by name."""
    return _list()


@bp.post("")
@requires("admin")
def add() -> ResponseReturnValue:
    """Adds somebody with one role; more are given on the person's page."""
    form = request.form
    try:
        grant = _grant(form.get("role", ""), form.get("store", all_stores), _store_names())
        added = people.add_person(
            home(), form.get("username", ""), form.get("password", ""), [grant], actor=person().username
        )
    except InvalidRequest as error:
        return _list({error.field or "username": str(error)}), 400
    flash(f"{added.username} was added. Hand over the password by a safe way.", "ok")
    return redirect(url_for("users.show", username=added.username), 303)


@bp.get("/<username>")
@requires("admin")
def show(username: str) -> str:
    """One person: roles, password, door."""
    return _one(username)


@bp.post("/<username>/roles")
@requires("admin")
def change_roles(username: str) -> ResponseReturnValue:
    """Puts the ticked roles in place of the former ones; each box is ROLE@STORE."""
    boxes = (box.rpartition("@") for box in request.form.getlist("grant"))
    known = {*_store_names(), *(grant.store for grant in people.find_person(home(), username).grants)}
    grants = [_grant(role, store, known) for role, _, store in boxes]
    changed = people.set_grants(home(), username, grants, actor=person().username)
    flash(f"The roles of {changed.username} were changed: {_in_words(changed.grants)}.", "ok")
    return redirect(url_for("users.show", username=changed.username), 303)


@bp.post("/<username>/password")
@requires("admin")
def reset_password(username: str) -> ResponseReturnValue:
    """Sets another password and ends all sessions of the person."""
    try:
        people.set_password(home(), username, request.form.get("password", ""), actor=person().username)
    except InvalidRequest as error:
        return _one(username, {"password": str(error)}), 400
    flash(f"{username} has a new password and was logged out everywhere.", "ok")
    return redirect(url_for("users.show", username=username), 303)


@bp.post("/<username>/disable")
@requires("admin")
def disable(username: str) -> ResponseReturnValue:
    """Shuts somebody out at once."""
    people.set_disabled(home(), username, True, actor=person().username)
    flash(f"{username} can’t log in any more and was logged out everywhere.", "ok")
    return redirect(url_for("users.show", username=username), 303)


@bp.post("/<username>/enable")
@requires("admin")
def enable(username: str) -> ResponseReturnValue:
    """Lets somebody in again."""
    people.set_disabled(home(), username, False, actor=person().username)
    flash(f"{username} can log in again.", "ok")
    return redirect(url_for("users.show", username=username), 303)


def _grant(role: str, store: str, known: Collection[str]) -> Grant:
    """A grant of a known role for one of the stores known; raises InvalidRequest."""
    grant = Grant(checked_role(role), store)
    if store not in known:
        raise InvalidRequest(
            f"There is no store “{store}” here. Reload the page and choose one of its stores.", "store"
        )
    return grant


def _in_words(grants: Iterable[Grant]) -> str:
    return ", ".join(str(grant) for grant in grants) or "none"


def _list(problems: dict[str, str] | None = None) -> str:
    found = people.list_people(home(), after=request.args.get("after", ""), limit=_page_rows + 1)
    return render_template(
        "users/index.html",
        people=found[:_page_rows],
        has_more=len(found) > _page_rows,
        problems=problems or {},
        **_choices(),
    )


def _one(username: str, problems: dict[str, str] | None = None) -> str:
    found = people.find_person(home(), username)
    # Roles for stores that are no longer configured stay visible, or saving the form would drop them in silence.
    gone = sorted({grant.store for grant in found.grants} - set(_store_names()))
    choices = _choices() | {"stores": [*_store_names(), *gone], "gone": gone}
    return render_template("users/show.html", found=found, problems=problems or {}, **choices)


def _store_names() -> list[str]:
    return [all_stores, *(entry.name for entry in dashboard().sources.entries())]


def _choices() -> dict[str, Any]:
    return {
        "roles": roles,
        "stores": _store_names(),
        "minimum_length": minimum_length,
        "suggested": random_password(),
        "all_stores": all_stores,
    }
