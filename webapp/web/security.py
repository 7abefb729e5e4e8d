"""What guards every request: headers, tokens of forms, the origin they come from, and who is logged in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import quote, urlencode, urlsplit

from flask import Flask, Request, Response, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue

from webapp.accounts.people import read_person
from webapp.accounts.sessions import find_session, note_seen
from webapp.accounts.tables import people
from webapp.errors import InvalidRequest
from webapp.web.context import home, store_entry

session_cookie = "projectionist_session"
_safe_methods = frozenset({"GET", "HEAD", "OPTIONS"})
_login_endpoints = frozenset({"login.show", "login.submit"})
_public_endpoints = _login_endpoints | {"static", "health.show", "metrics.show"}  # metrics guards itself
_csp = "; ".join(
    f"{directive} {sources}"
    for directive, sources in {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }.items()
)
_headers = {
    "Content-Security-Policy": _csp,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class InvalidToken(InvalidRequest):
    """A form came without its token, or from somewhere else."""

    def __init__(self) -> None:
        super().__init__(
            "This form can’t be accepted: it was made for another session, or comes from another site. "
            "Go back, reload the page and send it again."
        )


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie, used for notices and before login; Secure whenever the request came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:
        return cookie_path()


def cookie_path() -> str:
    """Where our cookies are sent: this dashboard alone, when it lives below a sub-path."""
    return request.script_root or "/"


def install(app: Flask) -> None:
    """Puts the guards in front of all views of an app."""
    app.session_interface = CookieSession()
    for guard in (load_person, check_person, check_form):
        app.before_request(guard)
    app.after_request(add_headers)
    app.jinja_env.globals["csrf_token"] = csrf_token


# --- forms ----------------------------------------------------------------------------------------------------------


def csrf_token() -> str:
    """The token for this page's forms, good for as long as the session lasts."""
    if "csrf_token" not in g:
        salt = secrets.token_hex(8)
        g.csrf_token = f"{salt}-{_signature(salt, _csrf_seed(make=True) or '')}"
    token: str = g.csrf_token
    return token


def _csrf_seed(make: bool = False) -> str | None:
    """What ties tokens to a browser: its session's token or, before login, a random value in the signed cookie."""
    if g.get("person") is not None and request.endpoint not in _login_endpoints:
        return request.cookies.get(session_cookie)
    if make and "visit" not in session:
        session["visit"] = secrets.token_urlsafe(16)
    return session.get("visit")


def _signature(salt: str, seed: str) -> str:
    key = str(current_app.secret_key).encode()
    return hmac.new(key, f"csrf:{salt}:{seed}".encode(), hashlib.sha256).hexdigest()


def check_form() -> None:
    """Raises InvalidToken for a request that may change something unless it comes from a page of ours."""
    if request.method in _safe_methods or request.endpoint is None:
        return
    if not _comes_from_here(request):
        raise InvalidToken
    token = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    salt, _, signature = token.partition("-")
    seed = _csrf_seed()
    if seed is None or not hmac.compare_digest(signature.encode(), _signature(salt, seed).encode()):
        raise InvalidToken


def _comes_from_here(request: Request) -> bool:
    """Whether Origin or, without one, Referer names this host; programs send neither, and have no cookies to abuse."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return False
    origin = request.headers.get("Origin") or request.headers.get("Referer")
    return origin is None or urlsplit(origin).netloc == request.host


# --- people ---------------------------------------------------------------------------------------------------------


def load_person() -> None:
    """Puts who is logged in into `g.person` and `g.session`, None where nobody is."""
    g.person = g.session = None
    token = request.cookies.get(session_cookie)
    if not token or request.endpoint in ("static", "health.show"):
        return
    with home().database.reading() as connection:
        found = find_session(connection, token)
        somebody = read_person(connection, people.c.id == found.person_id) if found else None
    if found is not None and somebody is not None and not somebody.is_disabled:
        g.person, g.session = somebody, found
        note_seen(home(), found)


def check_person() -> ResponseReturnValue | None:
    """Sends who isn't logged in to the login page; answers 404 for a store that the person may not see."""
    if request.endpoint in _public_endpoints:
        return None
    if g.person is None:
        return redirect(f"{url_for('login.show')}?{urlencode({'next': _this_page()})}", 303)
    if request.view_args and "store" in request.view_args:
        store_entry(request.view_args["store"])
    return None


def _this_page() -> str:
    """Where to come back after login: this page, or the start for what isn't a page."""
    if request.method not in _safe_methods:
        return request.script_root + "/"
    query = request.query_string.decode("utf-8", "replace")
    return request.script_root + quote(request.path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")


def safe_next(target: str | None) -> str:
    """The address to go to after login, if it is one of this site's own pages; else the start."""
    start = request.script_root + "/"
    if not target or not target.startswith(start) or target.startswith("//") or "\\" in target:
        return start
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or any(ord(character) < 32 for character in target):
        return start
    return target


# --- answers --------------------------------------------------------------------------------------------------------


def add_headers(response: Response) -> Response:
    """The response with the headers that every answer carries; pages are never kept by caches."""
    for name, value in _headers.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint == "static" and response.status_code in (200, 304):
        is_versioned = "v" in request.args
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_versioned else "no-cache"
    else:
        response.headers.setdefault("Cache-Control", "no-store")
    return response
