"""Delivers a message by HTTP. What goes wrong is said without the address, for that may have a secret in it."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any

from webapp.alerts.message import Message

timeout_seconds = 10.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection is a failure: followed, it would become a GET without the message."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, message: Message) -> str | None:
    """None once the receiver took it (any status 2xx), else why it didn't, in a few words."""
    request = urllib.request.Request(url, message.body, message.headers, method="POST")  # noqa: S310 - Config let http and https pass
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout_seconds):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except TimeoutError:
        return f"no answer within {timeout_seconds:g} seconds"
    except urllib.error.URLError as error:
        reason = error.reason
        return str(reason.strerror or type(reason).__name__) if isinstance(reason, OSError) else "it can't be reached"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
