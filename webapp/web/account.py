"""`/account`: one's own password, sessions, time zone and theme."""

from __future__ import annotations

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from webapp.accounts.people import check_password, set_password, set_time_zone
from webapp.accounts.sessions import end_own_session, hash_token, list_sessions
from webapp.accounts.throttle import begin_attempt, end_attempt
from webapp.errors import InvalidRequest
from webapp.web.context import home, person, record
from webapp.web.security import cookie_path, session_cookie
from webapp.web.zones import known_zones

bp = Blueprint("account", __name__, url_prefix="/account")
theme_cookie = "projectionist_theme"
themes = ("light", "dark")


@bp.get("")
def show() -> str:
    """The page about oneself."""
    return _page()


@bp.post("/password")
def change_password() -> ResponseReturnValue:
    """Sets a new password; all other sessions end, this one goes on."""
    address = request.remote_addr or "unknown"
    attempt = begin_attempt(home(), person().username, address)
    if check_password(home(), person().username, request.form.get("current", "")) is None:
        return _page({"current": "This is not your present password."}), 400
    end_attempt(home(), attempt, person().username, address)
    password = request.form.get("password", "")
    if password != request.form.get("again", ""):
        return _page({"again": "The two new passwords are not the same. Type it again."}), 400
    try:
        token = request.cookies.get(session_cookie)
        set_password(home(), person().username, password, actor=person().username, keep_session=token)
    except InvalidRequest as error:
        return _page({"password": str(error)}), 400
    flash("Your password was changed. Everywhere else you are logged out.", "ok")
    return redirect(url_for("account.show"), 303)


@bp.post("/look")
def change_look() -> ResponseReturnValue:
    """Sets the time zone, kept with the person, and the theme, kept in this browser."""
    zone = request.form.get("time_zone", "").strip()
    if zone and zone not in known_zones():
        problem = f"“{zone[:60]}” is not a time zone. Choose one like Europe/Berlin, or leave it empty."
        return _page({"time_zone": problem}), 400
    set_time_zone(home(), person().username, zone or None)
    flash("Saved.", "ok")
    response = redirect(url_for("account.show"), 303)
    _set_theme(response, request.form.get("theme", ""))
    return response


@bp.post("/sessions/<key>/end")
def end(key: str) -> ResponseReturnValue:
    """Ends one of one's own sessions."""
    end_own_session(home(), person().id, key)
    record("person.session_ended", person=person().username)
    flash("That session was ended.", "ok")
    return redirect(url_for("account.show"), 303)


def _set_theme(response: Response, theme: str) -> None:
    # Readable by scripts on purpose: the switch in the sidebar writes the same cookie.
    if theme in themes:
        response.set_cookie(
            theme_cookie, theme, 365 * 86_400, path=cookie_path(), secure=request.is_secure, samesite="Lax"
        )
    else:
        response.delete_cookie(theme_cookie, path=cookie_path())


def _page(problems: dict[str, str] | None = None) -> str:
    return render_template(
        "account/show.html",
        problems=problems or {},
        sessions=list_sessions(home(), person().id),
        this_session=hash_token(request.cookies.get(session_cookie, "")),
        zones=known_zones(),
        chosen_zone=request.form.get("time_zone", g.person.time_zone or ""),
    )
