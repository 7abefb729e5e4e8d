"""`/stores/<store>/audit`: takes trails and shows what people did; for auditors and admins."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from webapp.accounts import activity
from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import format_named
from webapp.audit.trail import Trail
from webapp.queries.audit import AuditPage, read_chosen_scope
from webapp.web import context, paths
from webapp.web.context import requires
from webapp.web.filters import zone

log = logging.getLogger(__name__)
bp = Blueprint("audit", __name__, url_prefix="/stores/<store>/audit")
paths.install(bp)


@bp.get("")
@requires("auditor")
def index(store: str) -> ResponseReturnValue:
    """The form for a trail, and recent activity."""
    page = AuditPage.from_args(
        context.source(store), context.home().events, store, request.args, zone=zone()
    )  # fmt: skip
    return render_template("audit/index.html", store=store, page=page), page.status


@bp.get("/download")
@requires("auditor")
def download(store: str) -> ResponseReturnValue:
    """A trail as a ZIP, streamed while it is read; its beginning and its end are recorded."""
    source = context.source(store)
    file_format = format_named(request.args.get("format"))
    trail = Trail(source, read_chosen_scope(source, request.args, zone()))
    archive = Archive(trail, file_format, Origin(store, context.person().username, "dashboard"))
    response = Response(mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{archive.name}"'
    response.headers["X-Accel-Buffering"] = "no"
    if request.method != "HEAD":
        response.response = RecordedDownload(archive, _recorder(store))
    return response


def _recorder(store: str) -> Callable[[str, dict[str, Any]], None]:
    """Records acts of the person who asks, also after the request is over."""
    home, actor, address = context.home(), context.person().username, request.remote_addr
    return lambda type_, data: activity.record(home, actor, type_, data, store=store, address=address)


class RecordedDownload(Iterator[bytes]):
    """The pieces of an archive for the server; records that it began, and whether it was completed.

    What breaks the reading is raised again, so that the server cuts the connection and nobody takes the part for all.
    """

    def __init__(self, archive: Archive, record: Callable[[str, dict[str, Any]], None]) -> None:
        self._archive, self._record = archive, record
        self._pieces = iter(archive)
        self._id = uuid.uuid4().hex[:12]
        self._has_ended = False
        scope = archive.trail.scope
        facts = {"download": self._id, "filter": scope.words(), "format": archive.format.name, "file": archive.name}
        record("download.started", facts)

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            manifest = self._archive.manifest
            assert manifest is not None  # noqa: S101  it is made before the last piece
            self._end("download.completed", {"events": manifest.count, "sha256": manifest.sha256})
            raise
        except Exception as error:
            log.error("the download %s of %s broke: %s", self._id, self._archive.name, error)
            self._end("download.failed", {"events": self._archive.trail.count, "reason": str(error)})
            raise

    def close(self) -> None:
        """Called by the server at the end; before the last piece it means that the reader has gone."""
        self._end("download.aborted", {"events": self._archive.trail.count})

    def _end(self, type_: str, facts: dict[str, Any]) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        try:
            self._record(type_, {"download": self._id, **facts})
        except Exception:
            log.exception("the end of the download %s could not be recorded", self._id)
