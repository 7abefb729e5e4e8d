"""`projectionist events`, `history` and `state`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import parse, run, run_json
from tests.queries.seed import fill, odd_id, odd_log, odd_type
from webapp.store import EventStore
from webapp.store.merge import read_all


def test_json_lines_are_the_events_of_all_logs_oldest_first(store: EventStore) -> None:
    fill(store)
    url = store.database.url.render_as_string(hide_password=False)
    done = run("events", url, "--json")
    assert done.stdout.split("\n")[:-1] == [event.to_json() for event in read_all(store)]
    assert done.stderr == ""


def test_without_json_a_hundred_are_shown_and_the_way_to_the_rest(shop: str) -> None:
    done = run("events", shop)
    assert len(done.stdout.splitlines()) == 101
    assert "There are more: --after " in done.stderr


def test_what_a_terminal_would_obey_is_escaped_and_lines_are_cut(shop: str) -> None:
    done = run("events", shop, "--aggregate-type", "ticket")
    assert all(len(line) <= 120 for line in done.stdout.splitlines())
    assert not [c for c in done.stdout if not (c.isprintable() or c == "\n")]
    assert "evil" in run("events", shop, "--type", "ticket.turned").stdout


def test_a_cursor_leads_through_all_logs_in_either_order(shop: str) -> None:
    whole = [(event["log"], event["position"]) for event in run_json("events", shop)]
    for option, order, expected in (("--after", [], whole), ("--before", ["--newest"], whole[::-1])):
        found, place = [], []
        while True:
            done = run("events", shop, "--json", "--limit", 50, *order, *place)
            found += [(event["log"], event["position"]) for event in map(parse, done.stdout.split("\n")[:-1])]
            if not done.stderr:
                break
            place = [option, done.stderr.split()[-1]]
        assert found == expected


def test_positions_need_no_log_where_there_is_only_one(small: str) -> None:
    assert [event["position"] for event in run_json("events", small, "--after", 2, "--before", 6)] == [3, 4, 5]
    assert [event["position"] for event in run_json("events", small, "--newest", "--limit", 2)] == [7, 6]
    assert "--before 6" in run("events", small, "--newest", "--limit", 2).stderr


def test_positions_need_a_log_where_there_are_several(shop: str) -> None:
    for option in ("--after", "--before"):
        assert "which needs --log" in run("events", shop, option, 3, status=2).stderr
    assert [e["position"] for e in run_json("events", shop, "--log", odd_log, "--after", 2)] == [3, 4]
    assert "not “x.y”" in run("events", shop, "--log", odd_log, "--after", "x.y", status=2).stderr
    assert "order of its list" in run("events", shop, "--before", "x.y", status=2).stderr
    assert "not one that this list gave out" in run("events", shop, "--after", "x?y", status=2).stderr


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["--type", "order.paid", "--type", "order.cancelled"], 2),
        (["--aggregate-type", "order", "--aggregate-id", "42"], 4),
        (["--correlation", "corr-1"], 3),
        (["--actor", "payments"], 1),
        (["--contains", "THE-END"], 1),
        (["--since", "2020-01-01", "--until", "2020-02-01"], 0),
        (["--since", "-1h", "--actor", "ann"], 3),
        (["--log", odd_log], 4),
    ],
)
def test_filters_keep_what_they_say(shop: str, options: list[str], number: int) -> None:
    assert len(run_json("events", shop, *options)) == number


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--type", "nope"], 1, "There is no event type “nope”"),
        (["--log", "nope"], 1, "There is no log “nope”"),
        (["--since", "gestern"], 2, "“gestern” is not a time"),
        (["--limit", "0"], 2, "--limit"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_bad_options_are_told_in_a_sentence(shop: str, arguments: list[str], status: int, sentence: str) -> None:
    done = run("events", shop, *arguments, status=status)
    assert sentence in done.stderr and done.stdout == ""


@pytest.mark.parametrize("command", [["events"], ["history", "a", "b"], ["inspect"], ["state", "a", "b"]])
def test_bad_urls_are_told_without_their_password(command: list[str], tmp_path: Path) -> None:
    name, *rest = command
    for url, status, sentence in (
        (f"sqlite:///{tmp_path}/nothing.db", 1, "no such file"),
        ("postgresql://joe:s3cr3t@127.0.0.1:1/shop", 1, ""),
        ("mysql://joe:s3cr3t@127.0.0.1:1/shop", 1, ""),
        ("oracle://joe:s3cr3t@host/shop", 2, "Known are sqlite"),
        ("s3cr3t", 2, "not a database URL"),
    ):
        done = run(name, url, *rest, status=status)
        assert sentence in done.stderr and done.stderr.strip()
        assert "s3cr3t" not in done.stdout + done.stderr


def test_a_history_comes_in_order_of_version(shop: str) -> None:
    assert [event["version"] for event in run_json("history", shop, "order", "42")] == [1, 2, 3, 4]
    assert [event["version"] for event in run_json("history", shop, "order", "42", "--after", 1, "--limit", 2)] == [
        2,
        3,
    ]
    assert run_json("history", shop, odd_type, odd_id)[0]["aggregate_id"] == odd_id
    done = run("history", shop, "order", "42", "--limit", 3)
    assert "order.placed" in done.stdout and "--after 3" in done.stderr
    assert "no version above 9" in run("history", shop, "order", "42", "--after", 9).stderr


def test_an_aggregate_that_is_not_there_is_not_found(shop: str) -> None:
    for command in ("history", "state"):
        assert "There is no aggregate “order/nope”" in run(command, shop, "order", "nope", status=1).stderr
    assert "nope" in run("history", shop, "order", "42", "--log", "nope", status=1).stderr


def test_an_aggregate_in_several_logs_needs_one_named(shop: str) -> None:
    for command in ("history", "state"):
        assert "Choose one with --log" in run(command, shop, "wallet", "w1", status=1).stderr
    assert [event["log"] for event in run_json("history", shop, "wallet", "w1", "--log", odd_log)] == [odd_log]
    [found] = run_json("state", shop, "wallet", "w1", "--log", odd_log)
    assert found["state"] == {"balance": 7}


def test_a_state_is_folded_up_to_a_version_or_a_time(small: str) -> None:
    [last] = run_json("state", small, "order", "1")
    assert (last["version"], last["state"]["n"]) == (7, 6)
    [third] = run_json("state", small, "order", "1", "--version", 3)
    assert third["version"] == 3 and set(third["state"]) == {"n", "f0", "f1", "f2"}
    [now] = run_json("state", small, "order", "1", "--at", "now")
    assert now == last
    assert "It did not exist then" in run("state", small, "order", "1", "--at", "2001-01-01", status=1).stderr
    assert "versions up to 7" in run("state", small, "order", "1", "--version", 8, status=1).stderr
    assert "not both" in run("state", small, "order", "1", "--version", 1, "--at", "now", status=2).stderr
    assert '"n": 6' in run("state", small, "order", "1").stdout


def test_a_domain_folds_the_state_and_its_errors_are_told(small: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(
        "from webapp.domain import Domain\n"
        "domain, broken = Domain(), Domain()\n"
        "@domain.aggregate('order', initial=lambda: {'sum': 0})\n"
        "def order(state, event):\n    return {'sum': state['sum'] + event.data['n']}\n"
        "@broken.aggregate('order')\n"
        "def bad(state, event):\n    return state['missing']\n"
    )
    done = run("state", small, "order", "1", "--domain", "ledger:domain", "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    assert found["state"] == {"sum": 21} and found["folded_by"] == "ledger.order"
    done = run("state", small, "order", "1", "--domain", "ledger:broken", status=1, folder=tmp_path)
    assert "raised at version 1 (order.changed): KeyError: 'missing'" in done.stderr
    assert "nothing" in run("state", small, "order", "1", "--domain", "nothing:x", status=2, folder=tmp_path).stderr


def test_it_reads_what_ecotone_wrote(ecotone_url: str) -> None:
    events = run_json("events", ecotone_url)
    assert len(events) == 5020
    order = next(event for event in events if event["log"] == "orders")
    history = run_json("history", ecotone_url, "order", order["aggregate_id"])
    assert history[0] == order
    assert run_json("state", ecotone_url, "order", order["aggregate_id"], "--version", 1)[0]["state"] == order["data"]
