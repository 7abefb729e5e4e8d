"""Names in URL paths: ids, logs and types may hold anything, and must come through every server and proxy."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, url_for
from flask.sansio.blueprints import BlueprintSetupState
from markupsafe import Markup
from werkzeug.routing import BaseConverter, BuildError, ValidationError

from webapp.queries.texts import printable

# Servers and proxies decode, merge or refuse these when percent-encoded, so they get an escape of our own: a~2Fb.
_fragile = re.compile(r"[/\\~%;\x00-\x1f\x7f]|^\.{1,2}$")
_escaped = re.compile(r"(?:~[0-9A-F]{2})+")


def escape(name: str) -> str:
    """The name as one path segment, still to be percent-encoded; ~00, which no name holds, is the empty name."""
    if not name:
        return "~00"
    return _fragile.sub(lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode()), name)


def unescape(segment: str) -> str:
    """The name that a segment stands for; what isn't escaped stands for itself."""
    if segment == "~00":
        return ""
    return _escaped.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode("utf-8", "replace"), segment)


class NameConverter(BaseConverter):
    """A name in one segment of the path, as our links write it."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        """The name; no stored name holds NUL."""
        name = unescape(value)
        if "\x00" in name:
            raise ValidationError
        return name

    def to_url(self, value: str) -> str:
        """The segment, percent-encoded."""
        return super().to_url(escape(value))


class AnyNameConverter(NameConverter):
    """A name that may also come with its slashes as they are, as other programs write addresses."""

    regex = ".+?"
    part_isolating = False
    weight = 200


def install(blueprint: Blueprint) -> None:
    """Lets a blueprint's routes use <name:…> and <anyname:…>; call it before the first route."""

    @blueprint.record
    def _register(state: BlueprintSetupState) -> None:
        state.app.url_map.converters |= {"name": NameConverter, "anyname": AnyNameConverter}
        # An id such as a//b must not be redirected to a/b.
        state.app.url_map.merge_slashes = False
        state.app.jinja_env.globals["optional_url"] = optional_url
        state.app.jinja_env.filters |= {"printable": printable, "breakable": breakable}


def breakable(name: str) -> Markup:
    """A printable name as HTML in which lines may break behind dots, backslashes and the like, and only there."""
    return Markup("<wbr>").join(re.findall(r"[^.\\/:_-]*[.\\/:_-]+|[^.\\/:_-]+", printable(name)))


def optional_url(endpoint: str, **values: Any) -> str | None:
    """The address of a page that not every dashboard has; None where there is none."""
    try:
        return url_for(endpoint, **values)
    except BuildError:
        return None
