"""`projectionist users`: people and what they may do, in home."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from webapp.accounts import people
from webapp.accounts.home import Home
from webapp.accounts.passwords import random_password
from webapp.accounts.roles import Grant, roles
from webapp.cli.common import json_option, print_json, print_table, say
from webapp.config import load_config

_actor = "command line"
_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A projectionist.toml.",
)
_role_option = click.option(
    "--role", "role_texts", multiple=True, metavar="ROLE[@STORE]",
    help=f"{', '.join(roles)}; for one store as ROLE@STORE. May be given several times.",
)  # fmt: skip


@contextmanager
def _home(config_file: Path | None) -> Iterator[Home]:
    home = Home.open(load_config(config_file))
    try:
        yield home
    finally:
        home.close()


def _grants(texts: tuple[str, ...]) -> list[Grant]:
    return [Grant(*text.split("@", 1)) if "@" in text else Grant(text) for text in texts]


def _new_password(generate: bool) -> str:
    """A password from the terminal (asked twice), from a pipe (its first line), or made up."""
    if generate:
        return random_password()
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise click.ClickException("The two passwords differ. Try again.")
    return password


@click.group()
def users() -> None:
    """People who may log in, and their roles."""


@users.command("add")
@click.argument("username")
@_role_option
@click.option("--generate", is_flag=True, help="Make a password up and print it, instead of asking for one.")
@_config_option
def add(username: str, role_texts: tuple[str, ...], generate: bool, config_file: Path | None) -> None:
    """Add a person (a viewer of all stores, if no role is given)."""
    with _home(config_file) as home:
        grants = _grants(role_texts or ("viewer",))
        password = _new_password(generate)
        person = people.add_person(home, username, password, grants, _actor)
    if generate:
        click.echo(password)
    say(f"{person.username} may log in as {', '.join(map(str, person.grants))}.")


@users.command("list")
@json_option
@_config_option
def list_(as_json: bool, config_file: Path | None) -> None:
    """List all people with their roles."""
    with _home(config_file) as home:
        found: list[people.Person] = []
        while page := people.list_people(home, after=found[-1].username if found else ""):
            found += page
    if as_json:
        for person in found:
            grants = [{"role": grant.role, "store": grant.store} for grant in person.grants]
            print_json({"username": person.username, "grants": grants, "is_disabled": person.is_disabled})
        return
    rows = [(one.username, ", ".join(map(str, one.grants)), "disabled" if one.is_disabled else "") for one in found]
    print_table(("Username", "Roles", ""), rows)


@users.command("role")
@click.argument("username")
@click.argument("role_texts", nargs=-1, required=True, metavar="ROLE[@STORE]...")
@_config_option
def role(username: str, role_texts: tuple[str, ...], config_file: Path | None) -> None:
    """Give a person these roles instead of the former ones."""
    with _home(config_file) as home:
        person = people.set_grants(home, username, _grants(role_texts), _actor)
    say(f"{person.username} is now {', '.join(map(str, person.grants))}.")


@users.command("password")
@click.argument("username")
@click.option("--generate", is_flag=True, help="Make a password up and print it, instead of asking for one.")
@_config_option
def password(username: str, generate: bool, config_file: Path | None) -> None:
    """Set a person's password, which ends their sessions."""
    with _home(config_file) as home:
        person = people.find_person(home, username)
        chosen = _new_password(generate)
        people.set_password(home, person.username, chosen, _actor)
    if generate:
        click.echo(chosen)
    say(f"{username} has a new password; open sessions have ended.")


@users.command("disable")
@click.argument("username")
@click.option("--undo", is_flag=True, help="Let the person in again.")
@_config_option
def disable(username: str, undo: bool, config_file: Path | None) -> None:
    """Shut a person out and end their sessions."""
    with _home(config_file) as home:
        people.set_disabled(home, username, not undo, _actor)
    say(f"{username} may log in again." if undo else f"{username} is shut out.")
