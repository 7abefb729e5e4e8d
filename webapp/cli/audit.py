"""`projectionist audit`: takes trails and checks them."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from webapp.audit.archive import Archive, Origin
from webapp.audit.checks import Report, checks
from webapp.audit.formats import format_named, formats
from webapp.audit.trail import Scope, Trail
from webapp.audit.verify import verify as verify_file
from webapp.cli.common import Amount, Place, json_option, leave_stdout, print_json, printable, say
from webapp.cli.events import read_history
from webapp.cli.reading import filter_options, only_log, opened, read_scope
from webapp.config import parse_store
from webapp.errors import InvalidRequest, ProjectionistError
from webapp.store.source import EventSource


@click.group()
def audit() -> None:
    """Take audit trails, and check them offline."""


@audit.command()
@click.argument("url")
@click.argument("aggregate", nargs=-1, metavar="[TYPE ID]")
@click.option(
    "--format", "format_name", type=click.Choice(list(formats)), required=True, help="How events are written."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The ZIP to write; - is stdout.")
@filter_options
@click.option("--after", type=Place, help="Only what follows this position of the log.")
@click.option("--before", type=Place, help="Only what comes before this position.")
@click.option("--limit", type=Amount, help="Only the first so many.")
@json_option
def export(
    url: str, aggregate: tuple[str, ...], format_name: str, out: Path, after: int | None, before: int | None,
    limit: int | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Write a trail: the events of a store under filters, or the history of one aggregate, oldest first.

    The ZIP holds events.csv or events.ndjson and a manifest with a checksum. FILE appears when it is complete.
    """
    if len(aggregate) not in (0, 2):
        raise click.UsageError("An aggregate is named by its TYPE and its ID.")
    if str(out) == "-" and as_json:
        raise click.UsageError("--out - writes the ZIP to stdout, so there is no room for --json.")
    with opened(url) as source:
        scope = read_scope(source, options | dict(zip(("aggregate_type", "aggregate_id"), aggregate, strict=False)))
        if aggregate:
            scope = _of_aggregate(source, scope)
        scope = _between(source, scope, after, before, limit)
        origin = Origin(parse_store(url)[0], _whoever(), "command line")
        archive = Archive(Trail(source, scope), format_named(format_name), origin)
        _write(archive, out)
    manifest = archive.manifest
    assert manifest is not None  # noqa: S101  it is there once the archive was read to its end
    if as_json:
        print_json({
            "file": str(out), "count": manifest.count, "bytes": manifest.bytes, "sha256": manifest.sha256,
            "filter": scope.values(), "logs": [extent.log for extent in manifest.logs if extent.count],
        })  # fmt: skip
    else:
        where = "" if str(out) == "-" else f" to {out}"
        say(f"Wrote {manifest.count:,} events{where}: {scope.words()}. SHA-256 of the events: {manifest.sha256}")


def _of_aggregate(source: EventSource, scope: Scope) -> Scope:
    """The scope in the one log that holds its aggregate; raises NotFound or AmbiguousLog."""
    where = scope.where
    first = next(read_history(source, where.aggregate_type or "", where.aggregate_id or "", scope.log))
    return Scope(where, first.log)


def _between(source: EventSource, scope: Scope, after: int | None, before: int | None, limit: int | None) -> Scope:
    """The scope within positions, which need a log."""
    if after is None and before is None:
        return Scope(scope.where, scope.log, limit=limit)
    log = only_log(source, scope.log)
    if log is None:
        raise click.UsageError("--after and --before take positions, which need --log unless there is only one.")
    return Scope(scope.where, log, after or 0, before, limit)


def _whoever() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _write(archive: Archive, out: Path) -> None:
    """Writes the archive beside its place and moves it there when it is complete; what broke off is removed."""
    if str(out) == "-":
        stdout = sys.stdout.buffer
        try:
            for piece in archive:
                stdout.write(piece)
            stdout.flush()
        except BrokenPipeError as error:
            leave_stdout()
            raise ProjectionistError("Who read the trail left before its end, so that part is no trail.") from error
        return
    if out.is_dir():
        raise InvalidRequest(f"{out} is a folder. Name a file in it, such as {out / archive.name}.", "out")
    part = out.with_name(f".{out.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            for piece in archive:
                file.write(piece)
        part.replace(out)
    except OSError as error:
        raise ProjectionistError(f"{out} can't be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check a trail offline: whether it is complete, in order and unaltered since its manifest was made."""
    report = verify_file(file)
    if as_json:
        print_json(_record(report))
    else:
        _print(report)
    if not report.is_intact:
        sys.exit(1)


def _record(report: Report) -> dict[str, Any]:
    manifest = report.manifest
    return {
        "file": report.file, "is_intact": report.is_intact,
        "checked": {name: not report.problems.get(name) for name in report.checked}, "unchecked": report.unchecked,
        "problems": [sentence for name in checks for sentence in report.sentences(name)],
        "count": manifest and manifest.count, "sha256": manifest and manifest.sha256,
    }  # fmt: skip


def _print(report: Report) -> None:
    click.echo(printable(report.file))
    for name, what in checks.items():
        sentences = report.sentences(name)
        word = "wrong" if sentences else "ok" if name in report.checked else "not checked"
        click.echo(f"  {word:<12}{what}")
        for sentence in sentences:
            click.echo(f"  {'':<12}  {printable(sentence)}")
    manifest = report.manifest
    if manifest is not None:
        store = manifest.store
        words = f"{manifest.count:,} events of {store.get('name')} ({manifest.filter.get('words')})"
        click.echo(printable(f"  {words}, taken by {manifest.taken_by} on {manifest.started_at}"))
        click.echo(printable(f"  SHA-256 of the events: {manifest.sha256}"))
    if report.is_intact:
        click.echo("The trail is intact: everything is as its manifest says.")
        click.echo("Whether the manifest is the one handed out shows the SHA-256 on the store's audit page.")
    else:
        say("The trail is NOT intact. Don't rely on it; take it again, or ask who handed it on.")
