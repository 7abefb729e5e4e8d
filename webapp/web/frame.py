"""What base.html needs on every page: the person, the stores, the links, the theme; and versioned static files."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from flask import Flask, g, request, url_for

from webapp.assets import asset_dir
from webapp.web import account, filters, navigation
from webapp.web.context import may, stores


def install(app: Flask) -> None:
    """Gives an app's templates the frame's values, and its static files their versions."""
    app.context_processor(page_values)
    app.url_defaults(_version_static)


def page_values() -> dict[str, Any]:
    """What base.html needs on every page."""
    person = g.get("person")
    theme = request.cookies.get(account.theme_cookie)
    values: dict[str, Any] = {
        "theme": theme if theme in account.themes else None,
        "current_person": person,
        "current_store": None,
        "visible_stores": [],
        "navigation": [],
        "find_url": None,
        "time_zone_name": str(filters.zone()),
        "may": may,
    }
    if person is None:
        return values
    visible = stores()
    entry = visible.get((request.view_args or {}).get("store", ""))
    values |= {
        "visible_stores": list(visible.values()),
        "current_store": entry,
        "navigation": navigation.links(person, entry),
        "find_url": url_for("find.index", store=entry.name) if entry else None,
    }
    return values


def _version_static(endpoint: str, values: dict[str, Any]) -> None:
    """Puts a hash of the file into its address, so that browsers may keep it for good."""
    if endpoint == "static" and "filename" in values and "v" not in values:
        values["v"] = _file_version(values["filename"])


@functools.cache
def _file_version(filename: str) -> str:
    path = asset_dir("static") / filename
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
