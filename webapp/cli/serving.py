"""`projectionist serve`, `worker` and `demo`: what stays running."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import click

from webapp.accounts.home import Home
from webapp.accounts.people import ensure_admin
from webapp.cli.common import domain_option, say
from webapp.config import Config, load_config, parse_stores
from webapp.store.native import EventStore

_store_option = click.option(
    "--store", "store_texts", multiple=True, metavar="[NAME=]URL", help="A store to show. May be given several times."
)
_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A projectionist.toml.",
)


def _configure(config_file: Path | None, store_texts: tuple[str, ...], **overrides: Any) -> Config:
    stores = parse_stores(store_texts) if store_texts else None
    return load_config(config_file, stores=stores, **overrides)


@click.command()
@_store_option
@domain_option
@_config_option
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on ($PORT, else 8000).")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes (2).")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads a process (4).")
@click.option("--with-worker", is_flag=True, default=None, help="Also follow live with the domain's projections.")
def serve(store_texts: tuple[str, ...], domain_name: str | None, config_file: Path | None, **options: Any) -> None:
    """Serve the dashboard under gunicorn. It takes replays; it follows live only --with-worker."""
    config = _configure(config_file, store_texts, domain=domain_name, **options)
    if not config.stores:
        raise click.UsageError("Which store? Give --store [NAME=]URL, or set PROJECTIONIST_STORES.")
    run_server(config)


@click.command()
@_store_option
@domain_option
@_config_option
def worker(store_texts: tuple[str, ...], domain_name: str | None, config_file: Path | None) -> None:
    """Run projections continuously and take replays, without the web."""
    from webapp.domain import load_domain
    from webapp.serving import make_worker
    from webapp.web.sources import Sources

    config = _configure(config_file, store_texts, domain=domain_name)
    if not config.stores or not config.domain:
        raise click.UsageError("A worker needs --store [NAME=]URL and --domain MODULE:NAME.")
    _log_to_stderr()
    home = Home.open(config)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    sources = Sources(config.stores, home.events, config.database_url)
    background = make_worker(config, home, load_domain(config.domain), sources, follow=True)
    background.start()
    say(f"Following {', '.join(name for name, _ in config.stores)} with {config.domain}. Ctrl-C stops after the batch.")
    while not stop.wait(3600):
        pass
    stopped = background.stop()
    sources.close()
    home.close()
    if not stopped:
        say("A batch was still at work; it rolls back, and whoever comes next goes on before it.")


@click.command()
@click.option("--serve", "and_serve", is_flag=True, help="Serve the demo store, following live.")
@click.option("--trickle", is_flag=True, help="With --serve: new orders come in every few seconds.")
@_config_option
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on ($PORT, else 8000).")
@click.option("--host", help="Address to listen on (127.0.0.1).")
def demo(and_serve: bool, trickle: bool, config_file: Path | None, port: int | None, host: str | None) -> None:
    """Make the demo store in the home folder, if it isn't there: a shop with 90 days of events."""
    from webapp.demo import make_demo
    from webapp.demo.trickle import running

    if trickle and not and_serve:
        raise click.UsageError("--trickle is for watching orders come in. Give --serve as well.")
    config = load_config(config_file, port=port, host=host)
    path = (config.home_folder / "shop.db").absolute()
    if path.exists():
        _upgrade(path)
        say(f"The demo store is there already: {path}")
    else:
        config.home_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        say("Making the demo store, about 50,000 events …")
        make_demo(path)
        say(f"Made {path}")
    if and_serve:
        url = f"sqlite:///{path}"
        config = load_config(
            config_file, port=port, host=host, stores=(("shop", url),), domain="webapp.demo.shop:domain",
            with_worker=True,
        )  # fmt: skip
        with running(url) if trickle else nullcontext():
            run_server(config)


def _upgrade(path: Path) -> None:
    """Brings a demo store that an older version made to this version's form."""
    store = EventStore.open(f"sqlite:///{path}")
    try:
        store.migrate()
    finally:
        store.close()


def run_server(config: Config) -> None:
    """Serves until stopped; says where and how to log in, before the port opens."""
    from webapp.serving import Server, pool_warnings

    _log_to_stderr()
    home = Home.open(config)
    password = ensure_admin(home, config)
    server = Server(config, home)
    for warning in pool_warnings(config):
        say(warning)
    say(f"\nProjectionist: http://{config.host}:{config.port}\n")
    if password is not None:
        say(f"Log in as  admin  with the password  {password}\n(shown this once)\n")
    elif config.admin_password:
        say("Log in as  admin  with the password in PROJECTIONIST_ADMIN_PASSWORD (if it was set at the first start).\n")
    else:
        say(f"Log in as before. A new password for admin: {password_command(config)}\n")
    server.run()


def password_command(config: Config) -> str:
    """The full command that sets a new password for admin in this very home."""
    import shlex
    import sys

    program = Path(sys.argv[0])
    shown = str(program) if program.name.startswith("projectionist") else "projectionist"
    return f"PROJECTIONIST_HOME={shlex.quote(str(config.home_folder))} {shlex.quote(shown)} users password admin --generate"


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
