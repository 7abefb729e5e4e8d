"""`/login` and `/logout`."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from webapp.accounts import activity
from webapp.accounts.people import check_password, find_person, normal_username
from webapp.accounts.sessions import absolute_limit, end_session, start_session
from webapp.accounts.throttle import begin_attempt, end_attempt
from webapp.errors import NotFound
from webapp.web.context import home, record
from webapp.web.security import cookie_path, safe_next, session_cookie

bp = Blueprint("login", __name__)


@bp.get("/login")
def show() -> ResponseReturnValue:
    """The login form; who is logged in already goes on."""
    target = safe_next(request.args.get("next"))
    if g.person is not None:
        return redirect(target, 303)
    return render_template("login.html", next=target, username="", problem=None)


@bp.post("/login")
def submit() -> ResponseReturnValue:
    """Logs somebody in under a new session, whatever session the browser had before."""
    username, address = normal_username(request.form.get("username", "")), request.remote_addr or "unknown"
    target = safe_next(request.form.get("next"))
    attempt = begin_attempt(home(), username, address)
    person = check_password(home(), username, request.form.get("password", ""))
    if person is None:
        _record_failure(username, address)
        problem = "Username and password don’t go together, or this person may not log in."
        return render_template("login.html", next=target, username=username[:64], problem=problem), 401
    end_attempt(home(), attempt, username, address)
    _end_present_session()
    session.clear()
    token = start_session(home(), person.id, address, request.user_agent.string)
    activity.record(home(), person.username, "person.logged_in", person=person.username, address=address)
    response = redirect(target, 303)
    set_session_cookie(response, token)
    return response


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """Ends the session, here and in the database."""
    record("person.logged_out", person=g.person.username)
    _end_present_session()
    session.clear()
    response = redirect(url_for("login.show"), 303)
    response.delete_cookie(session_cookie, path=cookie_path())
    return response


def set_session_cookie(response: Response, token: str) -> None:
    """Hands a session's token to the browser."""
    response.set_cookie(
        session_cookie,
        token,
        max_age=int(absolute_limit.total_seconds()),
        path=cookie_path(),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def _end_present_session() -> None:
    token = request.cookies.get(session_cookie)
    if token:
        end_session(home(), token)


def _record_failure(username: str, address: str) -> None:
    """Records a failed login, with the name only if it is somebody's: people type passwords into the wrong field."""
    try:
        known = find_person(home(), username).username
    except NotFound:
        known = "unknown"
    activity.record(home(), None, "person.login_failed", {"username": known}, person=known, address=address)
