"""`/metrics`: what Prometheus and its like read."""

from __future__ import annotations

import hmac
import time

from flask import Blueprint, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from webapp.queries.measuring import Measurer
from webapp.queries.metrics import write_metrics, write_process_metrics
from webapp.web import context
from webapp.web.context import Dashboard
from webapp.web.shared_text import SharedText

bp = Blueprint("metrics", __name__)


class Metrics:
    """What `/metrics` answers: one text for all processes that were forked after this was made."""

    def __init__(self, parts: Dashboard) -> None:
        names = [entry.name for entry in parts.sources.entries() if not entry.is_home]
        self._measurer = Measurer(parts.home, names, parts.sources.open)
        self._shared = SharedText()

    def text(self) -> bytes:
        """The stores' numbers, a few seconds old at most, and this process's own."""
        return self._shared.get(self._collect) + write_process_metrics()

    def _collect(self) -> bytes:
        started = time.monotonic()
        home, stores = self._measurer.measure()
        return write_metrics(home, stores, time.monotonic() - started)


@bp.get("/metrics")
def show() -> ResponseReturnValue:
    """The numbers, for whoever has the token, and for operators and admins of all stores."""
    if not _has_token():
        if g.person is None:
            sentence = (
                "Send the header Authorization: Bearer with the token set as PROJECTIONIST_METRICS_TOKEN, or log in.\n"
            )
            return Response(sentence, 401, {"WWW-Authenticate": 'Bearer realm="metrics"'}, content_type="text/plain")
        return _for_operators()
    return _numbers()


def _has_token() -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = context.config().metrics_token
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())


def _numbers() -> Response:
    metrics: Metrics = current_app.extensions["projectionist_metrics"]
    return Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


_for_operators = context.requires("operator")(_numbers)
