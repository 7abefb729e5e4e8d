"""One table from error family to status and page, so that views have no try/except."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from flask import Flask, Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from webapp import errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of error is answered; `advice` is what to do, beside what the error itself says."""

    status: int
    title: str
    advice: str = ""


_in_the_code = "It has to be mended in the code."

kinds: dict[type[errors.ProjectionistError], Kind] = {
    errors.AmbiguousLog: Kind(300, "Which log?"),
    errors.InvalidRequest: Kind(400, "That can’t be used"),
    errors.NotAllowed: Kind(403, "Not allowed"),
    errors.NotFound: Kind(404, "Not found", "It may have been renamed, or the address has a typo in it."),
    errors.Conflict: Kind(409, "That doesn’t go together", "Reload the page to see how things stand now."),
    errors.ProjectionFailed: Kind(409, "The projection failed"),
    errors.AppendOnly: Kind(409, "Events can’t be changed"),
    errors.RefusedData: Kind(409, "The database refused it"),
    errors.SagaFailed: Kind(409, "The saga failed"),
    errors.UnknownEvent: Kind(409, "No class for that event", _in_the_code),
    errors.UnhandledEvent: Kind(409, "No handler for that event", _in_the_code),
    errors.FoldingFailed: Kind(409, "The state can’t be folded", _in_the_code),
    errors.UpcastingFailed: Kind(409, "The event can’t be brought up to date", _in_the_code),
    errors.LoadingFailed: Kind(409, "The event doesn’t fit its class", _in_the_code),
    errors.WrongKey: Kind(503, "A key is missing", "Give the keys that the data was encrypted with."),
    errors.InvalidDefinition: Kind(409, "A definition contradicts itself", _in_the_code),
    errors.TooManyLogins: Kind(429, "Too many logins"),
    errors.TimedOut: Kind(503, "It took too long", "Narrow the filter, or try again when the database has less to do."),
    errors.UnknownLayout: Kind(503, "No event store there"),
    errors.NeedsMigration: Kind(503, "The store needs its tables"),
    errors.StoreUnavailable: Kind(503, "The store can’t be reached", "Others work meanwhile. Try again in a moment."),
    errors.ProjectionistError: Kind(500, "Something went wrong"),
}

_http = {
    400: Kind(400, "That can’t be used", "The browser sent something that can’t be read. Go back and try again."),
    404: Kind(404, "Not found", "There is no page at this address. It may have a typo in it."),
    405: Kind(405, "Not this way", "This address can’t be opened like that. Go back and use the page’s own buttons."),
    413: Kind(413, "Too much at once", "What was sent is larger than the dashboard accepts. Send less."),
    414: Kind(414, "The address is too long", "Use fewer or shorter filters."),
    415: Kind(415, "That can’t be read", "The browser sent something of another kind than this page takes."),
}


def kind_of(error: errors.ProjectionistError) -> Kind:
    """How an error is answered: by the nearest of its classes that the table names."""
    return next(kinds[family] for family in type(error).__mro__ if family in kinds)


def install(app: Flask) -> None:
    """Makes an app answer errors with pages."""
    app.register_error_handler(errors.ProjectionistError, answer_ours)
    app.register_error_handler(HTTPException, answer_http)
    app.register_error_handler(Exception, answer_unexpected)


def answer_ours(error: errors.ProjectionistError) -> Response:
    """The page for an error raised on purpose: its sentence, and what to do."""
    kind = kind_of(error)
    if kind.status >= 500:
        log.warning("%s %s: %s", request.method, request.path, error)
    response = _page(kind, str(error), error)
    if isinstance(error, errors.TooManyLogins):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    elif kind.status == 503:
        response.headers["Retry-After"] = "5"
    return response


def answer_http(error: HTTPException) -> Response:
    """The page for what the framework refuses: unknown addresses, wrong methods, bodies too large."""
    status = error.code or 500
    if status < 400:
        return make_response(error.get_response())
    response = _page(_http.get(status, Kind(status, error.name, error.description or "")), "")
    if status == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # type: ignore[attr-defined]
    return response


def answer_unexpected(error: Exception) -> Response:
    """The page for a bug: a number to look for in the log, where the traceback is, and nothing of it on the page."""
    number = secrets.token_hex(6)
    log.error("request %s failed: %s %s", number, request.method, request.path, exc_info=error)
    advice = f"It is not your fault. Try again; if it stays, tell an admin the number {number}, which is in the log."
    return _page(Kind(500, "Something went wrong", advice), "")


def _page(kind: Kind, sentence: str, error: errors.ProjectionistError | None = None) -> Response:
    g.is_error_page = True
    try:
        body = render_template("errors/error.html", kind=kind, sentence=sentence, error=error)
    except Exception:
        # The frame needs home, which may be what is broken.
        log.exception("the error page itself failed")
        body = render_template("errors/bare.html", kind=kind, sentence=sentence)
    return make_response(body, kind.status)
