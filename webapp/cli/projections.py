"""`projectionist projections`: read models, run and rebuilt from the command line with the words of the dashboard."""

from __future__ import annotations

import click

from webapp.cli.common import domain_option, json_option, print_json, print_table, say
from webapp.cli.opening import named_domain, named_projection, opened_source, opened_store, progress_bar
from webapp.cli.stepping import step
from webapp.cli.verifying import print_verification, verification_records
from webapp.errors import InvalidRequest, NotFound
from webapp.projections import lifecycle
from webapp.projections.follower import run_to_head
from webapp.replay.rebuild import Rebuild, rebuild
from webapp.replay.verify import Verify, verify_projection
from webapp.store.source import EventSource, ProjectionStatus


def _find_status(source: EventSource, name: str) -> ProjectionStatus:
    for status in source.projections():
        if status.name == name:
            return status
    raise NotFound("projection", name, "List them: projectionist projections list URL")


def _record(status: ProjectionStatus) -> dict[str, object]:
    return {
        "projection": status.name,
        "health": status.health.value,
        "explanation": status.explanation,
        "status": status.status,
        "positions": {one.log: one.position for one in status.progress},
        "heads": {one.log: one.head for one in status.progress},
        "lag": status.lag,
        "generation": status.generation,
        "skipped": status.skipped,
        "failure": status.failure.message if status.failure else None,
    }


@click.group()
def projections() -> None:
    """Read models: list, run, rebuild without downtime, verify, step through, pause, resume, delete."""


projections.add_command(step)


@projections.command("list")
@click.argument("url")
@domain_option
@json_option
def list_(url: str, domain_name: str | None, as_json: bool) -> None:
    """List the projections of a store, problems first."""
    defined = named_domain(domain_name).projections.keys() if domain_name else set()
    with opened_source(url) as source:
        found = sorted(source.projections(), key=lambda one: (not one.health.is_problem, one.name))
    if as_json:
        for status in found:
            print_json(_record(status))
        return
    rows = [(one.name, one.health.value, f"{one.lag:,}", one.explanation) for one in found]
    print_table(("Name", "Health", "Lag", ""), rows)
    missing = sorted(defined - {one.name for one in found})
    if missing:
        say(f"Defined but not started: {', '.join(missing)}. Start: projectionist projections run URL NAME")


@projections.command("show")
@click.argument("url")
@click.argument("name")
@domain_option
@json_option
def show(url: str, name: str, domain_name: str | None, as_json: bool) -> None:
    """Show one projection; with --domain also whether older code built it."""
    projection = named_projection(domain_name, name) if domain_name else None
    with opened_source(url) as source:
        status = _find_status(source, name)
    record = _record(status) | {"state": status.state, "tables": status.tables, "emits_to": status.emits_to}
    if projection is not None:
        is_stale = status.details.get("fingerprint") != projection.fingerprint()
        record["built_by"] = "older code: rebuild it" if is_stale else "the code as it is"
    if as_json:
        print_json(record | {"traceback": status.failure.traceback if status.failure else None})
        return
    print_table(("", ""), [(key, value) for key, value in record.items() if value not in (None, (), {})])
    if status.failure and status.failure.traceback:
        click.echo(status.failure.traceback)


@projections.command("init")
@click.argument("url")
@click.argument("name")
@domain_option
def init(url: str, name: str, domain_name: str | None) -> None:
    """Make a projection's tables, standing before the first event."""
    projection = named_projection(domain_name, name)
    with opened_store(url) as store:
        is_new = lifecycle.init_projection(store, projection)
    say(f"{name} is ready to run." if is_new else f"{name} was started already.")


@projections.command("run")
@click.argument("url")
@click.argument("name")
@domain_option
def run(url: str, name: str, domain_name: str | None) -> None:
    """Bring a projection to the head of its logs, once. (projectionist worker does so continuously.)"""
    _run_to_head(url, name, domain_name)


@projections.command("backfill")
@click.argument("url")
@click.argument("name")
@domain_option
def backfill(url: str, name: str, domain_name: str | None) -> None:
    """Run a new projection over all history for the first time."""
    _run_to_head(url, name, domain_name)


def _run_to_head(url: str, name: str, domain_name: str | None) -> None:
    projection = named_projection(domain_name, name)
    with opened_store(url) as store:
        done = run_to_head(store, projection)  # starts it if it's new
    say(f"{name} applied {done:,} events and stands at the head.")


@projections.command("rebuild")
@click.argument("url")
@click.argument("name")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Events a transaction.")
@click.option("--resume", "is_resumed", is_flag=True, help="Go on with a rebuild that was stopped or killed.")
@domain_option
def rebuild_(url: str, name: str, batch_size: int | None, is_resumed: bool, domain_name: str | None) -> None:
    """Rebuild a projection beside the one that serves, then swap. Readers notice nothing."""
    projection = named_projection(domain_name, name)
    with opened_store(url) as store, progress_bar() as progress:
        task = progress.add_task(f"Rebuilding {name}", total=None)

        def tell(work: Rebuild) -> None:
            progress.update(
                task, total=max(work.total, 1), completed=work.done, description=f"{work.phase.value} {name}"
            )

        try:
            rebuild(store, projection, batch_size=batch_size, on_progress=tell, resume=is_resumed)
        except KeyboardInterrupt:
            say(f"Stopped; what serves is untouched. Go on: projectionist projections rebuild URL {name} --resume")
            raise
    say(f"{name} is rebuilt and serves.")


@projections.command("verify")
@click.argument("url")
@click.argument("name")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Events at a time.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="Differences shown.")
@domain_option
@json_option
def verify(url: str, name: str, batch_size: int | None, limit: int, domain_name: str | None, as_json: bool) -> None:
    """Compare a projection's rows with a fresh fold of its events, writing nothing. Exit status 1 if they differ."""
    projection = named_projection(domain_name, name)
    with opened_store(url) as store, progress_bar() as progress:
        task = progress.add_task(f"Verifying {name}", total=None)

        def tell(work: Verify) -> None:
            progress.update(
                task, total=max(work.total, 1), completed=work.done, description=f"{work.phase.value} {name}"
            )

        found = verify_projection(store, projection, batch_size=batch_size, limit=limit, on_progress=tell)
    if as_json:
        for record in verification_records(found):
            print_json(record)
    else:
        print_verification(found)
    if not found.is_equal:
        click.get_current_context().exit(1)


@projections.command("reset")
@click.argument("url")
@click.argument("name")
@click.option("--yes", "is_confirmed", is_flag=True, help="Don't ask.")
@domain_option
def reset(url: str, name: str, is_confirmed: bool, domain_name: str | None) -> None:
    """Empty a projection and let it begin anew (its table is empty meanwhile; rebuild avoids that)."""
    projection = named_projection(domain_name, name)
    if projection.emits:
        raise InvalidRequest(f"{name} emits events, which a reset would emit again. Use rebuild, which emits nothing.")
    if not is_confirmed:
        click.confirm(f"Empty {name}? Its readers see an empty table until it has caught up", abort=True, err=True)
    with opened_store(url) as store:
        _find_status(store, name)
        lifecycle.delete_projection(store, name)
        lifecycle.init_projection(store, projection)
    say(f"{name} is empty and stands before the first event. Run it: projectionist projections run URL {name}")


@projections.command("pause")
@click.argument("url")
@click.argument("name")
def pause(url: str, name: str) -> None:
    """Let a projection stand where it is."""
    with opened_store(url) as store:
        lifecycle.pause_projection(store, name)
    say(f"{name} is paused.")


@projections.command("resume")
@click.argument("url")
@click.argument("name")
def resume(url: str, name: str) -> None:
    """Let a projection run on, from a pause or after a failure."""
    with opened_store(url) as store:
        lifecycle.resume_projection(store, name)
    say(f"{name} runs on as soon as a worker takes it.")


@projections.command("skip")
@click.argument("url")
@click.argument("name")
@click.option("--reason", required=True, help="Why this event may be left out; it stays visible.")
def skip(url: str, name: str, reason: str) -> None:
    """Leave out the event at which a projection failed, and run on from there."""
    with opened_store(url) as store:
        log, position = lifecycle.skip_failed_event(store, name, reason)
    say(f"{name} leaves out {log}:{position}.")


@projections.command("delete")
@click.argument("url")
@click.argument("name")
@click.option("--yes", "is_confirmed", is_flag=True, help="Don't ask.")
def delete(url: str, name: str, is_confirmed: bool) -> None:
    """Remove a projection and its tables; its derived log is retired, and stays readable."""
    if not is_confirmed:
        typed = click.prompt(f"This drops the tables of {name}. Type its name", err=True)
        if typed != name:
            raise click.ClickException("That is another name; nothing was deleted.")
    with opened_store(url) as store:
        lifecycle.delete_projection(store, name)
    say(f"{name} is deleted.")
