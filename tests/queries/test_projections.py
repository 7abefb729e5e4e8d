"""Projections as pages tell of them: of our own, and of Ecotone's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.datastructures import MultiDict

from tests.adapters.conftest import loaded_url, server, source
from webapp.accounts.home import Home
from webapp.adapters.ecotone import EcotoneSource
from webapp.config import Config
from webapp.queries.projections import ProjectionPage, ProjectionsPage, gaps_in_words
from webapp.store.source import Progress

__all__ = ["loaded_url", "server", "source"]  # fixtures


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """The dashboard's own database."""
    home = Home.open(Config(home_folder=tmp_path / "home"))
    yield home
    home.close()


def show(source: EcotoneSource, home: Home, name: str, **args: str) -> ProjectionPage:
    return ProjectionPage.load(source, home, "shop", {}, name, MultiDict(args))


def test_ecotones_projections_are_listed_with_problems_first(source: EcotoneSource, home: Home) -> None:
    page = ProjectionsPage.load(source, home, "shop", {}, is_home=False)
    assert not page.can_run
    assert page.problems == 4
    names = [line.name for line in page.lines]
    assert set(names[:4]) == {"crashed_report", "legacy_export", "reset_me", "ticket_board"}
    lines = {line.name: line for line in page.lines}
    assert (lines["order_list"].lag, lines["order_list"].pending) == ("7", "3 events")
    assert (lines["order_details"].lag, lines["order_details"].pending) == ("5 of 40", "partitions")
    assert lines["orders_v2"].position == "2,391"
    assert lines["backoffice_counter"].position == "2 logs"
    assert not any(line.is_orphan or line.is_stale for line in page.lines)


def test_ecotones_commands_fit_its_generation(source: EcotoneSource, home: Home) -> None:
    first = [command.text for command in show(source, home, "order_list").commands]
    assert first == [
        f"bin/console ecotone:es:{act}-projection order_list" for act in ("trigger", "reset", "stop", "delete")
    ]
    second = [command.text for command in show(source, home, "orders_v2").commands]
    assert second == [
        f"bin/console ecotone:projection:{act} orders_v2" for act in ("backfill", "rebuild", "init", "delete")
    ]
    several = {command.does: command.beware for command in show(source, home, "backoffice_counter").commands}
    assert "may stop early" in several["Rebuild it"]


def test_state_and_tables_of_ecotones_projections_are_browsed(source: EcotoneSource, home: Home) -> None:
    page = show(source, home, "order_totals", table="rm_order_list")
    assert page.state is not None
    assert "122927.45" in page.state.text
    assert page.rows is not None
    assert page.rows.problem is None
    assert len(page.rows.rows) == 50
    assert page.rows.next is not None
    following = show(source, home, "order_totals", table="rm_order_list", **page.rows.next)
    assert following.rows is not None
    assert following.rows.rows[0] not in page.rows.rows
    partitions = show(source, home, "order_details")
    assert partitions.rows is not None
    assert (partitions.rows.table, len(partitions.rows.rows)) == ("ecotone_projection_state", 40)


def test_gaps_are_told_in_words(source: EcotoneSource, home: Home) -> None:
    progress = show(source, home, "orders_v2").line.status.progress[0]
    assert "It passed 2,386–2,387, 2,389–2,390, where no event stood yet" in str(gaps_in_words(progress))
    assert gaps_in_words(Progress("main", 1, 1)) is None
