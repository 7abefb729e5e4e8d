"""The manifest of a trail: what it holds, of which store, taken by whom and when, and how to check it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from webapp import __version__
from webapp.audit.trail import Extent

file_name = "manifest.json"
kind = "projectionist audit trail"
format_version = 1
how_to_check = (
    "Run `projectionist audit verify FILE` on the ZIP; it needs no database. By hand: the SHA-256 and the size of the "
    "events file must be those given here, it must hold `count` events, and in each log the positions must rise from "
    "`first_position` to `last_position`. That the manifest itself is the one that was handed out shows the SHA-256 in "
    "the record of the download, on the audit page of the store."
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest's facts, under the names they have in the file; times are RFC 3339 in UTC."""

    events_file: str
    count: int
    bytes: int
    sha256: str
    filter: Mapping[str, Any]
    taken_by: str
    taken_through: str
    started_at: str
    finished_at: str
    store: Mapping[str, Any]
    logs: tuple[Extent, ...]
    how_to_read: str
    how_to_check: str = how_to_check
    projectionist_version: str = __version__
    format: str = kind
    format_version: int = format_version


def write_manifest(manifest: Manifest) -> bytes:
    """The file's content: JSON, laid out for people."""
    values = asdict(manifest)
    first = {name: values.pop(name) for name in ("format", "format_version")}
    text = json.dumps(first | values, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def read_manifest(content: bytes) -> Manifest:
    """The manifest in a file's content; raises ValueError with a sentence."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("manifest.json is not JSON.") from error
    if not isinstance(values, dict) or values.get("format") != kind:
        raise ValueError(f"manifest.json is not one of a trail: its format is not “{kind}”.")
    if values.get("format_version") != format_version:
        found = ascii(values.get("format_version"))[:40]
        raise ValueError(f"The manifest has format version {found}, and this program reads {format_version} only.")
    missing = [name for name in _kinds if name not in values]
    if missing:
        raise ValueError(f"The manifest lacks {', '.join(missing)}.")
    wrong = [name for name, type_ in _kinds.items() if not _is(values[name], type_)]
    if wrong:
        raise ValueError(f"The manifest holds something impossible under {', '.join(wrong)}.")
    known = {name: values[name] for name in _kinds}
    try:
        known["logs"] = tuple(_extent(one) for one in known["logs"])
    except (TypeError, ValueError) as error:
        raise ValueError("The manifest does not say what it holds of each log.") from error
    return Manifest(**known)


_kinds: dict[str, type] = {
    "events_file": str, "count": int, "bytes": int, "sha256": str, "filter": dict, "taken_by": str,
    "taken_through": str, "started_at": str, "finished_at": str, "store": dict, "logs": list, "how_to_read": str,
    "how_to_check": str, "projectionist_version": str,
}  # fmt: skip


def _is(value: object, type_: type) -> bool:
    return isinstance(value, type_) and not (type_ is int and (isinstance(value, bool) or value < 0))  # type: ignore[operator]


def _extent(values: Any) -> Extent:
    extent = Extent(**values)
    numbers = (extent.head, extent.settled_head, extent.count)
    places = [place for place in (extent.first_position, extent.last_position) if place is not None]
    if not isinstance(extent.log, str) or not all(_is(number, int) for number in (*numbers, *places)):
        raise ValueError(extent.log)
    if len(places) != (2 if extent.count else 0):
        raise ValueError(extent.log)
    return extent
