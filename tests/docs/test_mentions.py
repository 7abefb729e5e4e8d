"""Nothing is left out of the docs: every public name, error, command, option, setting and capability is there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator

import click
import pytest

import webapp.errors
from tests.docs.pages import guide, packages, readme, reference, root
from tests.store import dumping
from webapp import config
from webapp.cli import projectionist
from webapp.store.source import Capability

pages = "\n".join(page.read_text() for page in [*guide, *reference])
public = [
    (package, name) for package in packages for name in importlib.import_module(package).__all__
]  # fmt: skip


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for part in command.list_commands(context):
        found = command.get_command(context, part)
        assert found is not None
        yield from commands(found, f"{name} {part}")


@pytest.mark.parametrize("package", packages)
def test_a_reference_page_shows_the_whole_package(package: str) -> None:
    page = root / "docs" / "reference" / f"{package.rpartition('.')[2]}.md"
    assert f"::: {package}\n" in page.read_text()


@pytest.mark.parametrize(("package", "name"), public)
def test_every_public_name_and_its_methods_say_what_one_gets(package: str, name: str) -> None:
    thing = getattr(importlib.import_module(package), name)
    assert own_docstring(thing), f"{name} has no docstring"
    if inspect.isclass(thing):
        silent = [
            method
            for method, member in vars(thing).items()
            if not method.startswith("_")
            and (inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod))
            and not own_docstring(member)
        ]
        assert silent == [], f"methods of {name} without a docstring"


def own_docstring(thing: object) -> str:
    """What a thing says of itself; what a dataclass makes up doesn't count."""
    if isinstance(thing, property) and thing.fget is not None and thing.fget.__name__ == "<lambda>":
        return "stands in for a field"
    text = inspect.getdoc(thing) or ""
    return "" if inspect.isclass(thing) and text.startswith(f"{thing.__name__}(") else text


def test_every_error_has_a_sentence_on_what_it_means() -> None:
    errors = [error for _, error in inspect.getmembers(webapp.errors, inspect.isclass)]
    assert len(errors) > 20
    assert [error.__name__ for error in errors if not error.__doc__] == []
    assert "::: webapp.errors\n" in (root / "docs" / "reference" / "errors.md").read_text()


def test_every_command_and_option_is_on_its_page() -> None:
    page = (root / "docs" / "reference" / "command.md").read_text()
    sections = dict(re.findall(r"^#+ (projectionist [^\n]*)\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))
    missing = []
    for name, command in commands(projectionist, "projectionist"):
        heading = next((head for head in sections if re.match(rf"{name}(?![\w-])(?! [a-z])", head)), None)
        if heading is None:
            missing.append(name)
            continue
        options = [text for one in command.params if isinstance(one, click.Option) for text in one.opts]
        missing += [f"{name} {option}" for option in options if f"`{option}`" not in sections[heading]]
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        missing += [f"{name} {one.make_metavar(click.Context(command))}" for one in arguments
                    if one.make_metavar(click.Context(command)) not in heading]  # fmt: skip
    assert missing == []


def test_no_page_tells_of_a_command_or_option_that_is_not_there() -> None:
    known = dict(commands(projectionist, "projectionist"))
    wrong = []
    for text in re.findall(r"projectionist (?:[a-z]+)(?: [^\n`|]*)?", pages):
        words = text.split()
        found = next((known[" ".join(words[:n])] for n in (3, 2) if " ".join(words[:n]) in known), None)
        if found is None:
            continue
        options = {option for one in found.params for option in one.opts} | {"--help"}
        wrong += [text for option in re.findall(r"(?<=\s)--[a-z-]+", text) if option not in options]
    assert wrong == []


def test_every_setting_is_told_with_its_default() -> None:
    page = (root / "docs" / "reference" / "settings.md").read_text()
    for name in config._settings:
        variable = "PORT" if name == "port" else f"{config.prefix}{name.upper()}"
        assert f"| `{variable}` | `{name}` |" in page, f"{variable} is missing"
    defaults = config.Config()
    for name in ("port", "host", "workers", "threads", "trusted_proxies"):
        (row,) = re.findall(rf"^\| `\w+` \| `{name}` \|.*\| ([^|]*) \|$", page, re.MULTILINE)
        assert row == str(getattr(defaults, name))


def test_every_capability_is_told() -> None:
    page = (root / "docs" / "guide" / "dashboard.md").read_text()
    for capability in Capability:
        assert re.search(rf"^\| `{capability.name}`.*\|.*\|", page, re.MULTILINE), f"{capability.name} is missing"
        assert capability.value in page


def test_the_backup_page_gives_the_very_options_that_the_backup_tests_use() -> None:
    page = (root / "docs" / "guide" / "backup.md").read_text()
    options = set(re.findall(r'"(--[a-z-]+(?:=[a-zA-Z]+)?)"', inspect.getsource(dumping))) - {
        "--protocol=tcp",
        "--version",
    }
    assert len(options) > 8
    assert [option for option in sorted(options) if option not in page] == []


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", readme.read_text())
    assert len(links) > 15
    assert [link for link in links if not (root / link).exists()] == []
