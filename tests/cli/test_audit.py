"""`projectionist audit export` and `audit verify`."""

from __future__ import annotations

from pathlib import Path

from tests.audit.helpers import contents
from tests.cli.running import run, run_json
from tests.queries.seed import fill, odd_log
from webapp.store import EventStore


def test_what_is_exported_passes_the_check(store: EventStore, tmp_path: Path) -> None:
    fill(store)
    url = store.database.url.render_as_string(hide_password=False)
    for name in ("csv", "ndjson"):
        out = tmp_path / f"{name}.zip"
        [made] = run_json("audit", "export", url, "--format", name, "--out", out)
        assert made["count"] == len(run_json("events", url))
        assert list(contents(out)) == [f"events.{name}", "manifest.json"]
        [checked] = run_json("audit", "verify", out)
        assert checked["is_intact"] and checked["sha256"] == made["sha256"] and not checked["problems"]


def test_the_filters_of_events_and_of_a_history_hold(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"

    def exported(*options: object) -> int:
        [made] = run_json("audit", "export", shop, *options, "--format", "ndjson", "--out", out)
        assert run_json("audit", "verify", out)[0]["is_intact"]
        return int(made["count"])

    assert exported("--aggregate-type", "order", "--aggregate-id", "42") == 4
    assert exported("order", "42") == 4
    assert exported("wallet", "w1", "--log", odd_log) == 1
    assert exported("--type", "order.placed", "--actor", "ann") == 1
    assert exported("--log", "main", "--after", 2, "--before", 5) == 2
    assert exported("--contains", "THE-END") == 1
    assert exported("--until", "2001-01-01") == 0
    assert contents(out)["events.ndjson"] == b""


def test_bad_requests_leave_no_file_behind(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"
    export = ("audit", "export", shop, "--out", out)
    for arguments, status, sentence in (
        (("--format", "exe"), 2, "exe"),
        ((), 2, "--format"),
        (("--format", "csv", "--type", "nope"), 1, "There is no event type “nope”"),
        (("--format", "csv", "--after", "3"), 2, "need --log"),
        (("--format", "csv", "order"), 2, "TYPE and its ID"),
        (("--format", "csv", "order", "nope"), 1, "There is no aggregate"),
        (("--format", "csv", "wallet", "w1"), 1, "Choose one with --log"),
    ):
        assert sentence in run(*export, *arguments, status=status).stderr
    assert "can't be written" in run("audit", "export", shop, "--format", "csv", "--out", "/nowhere/x", status=1).stderr
    assert "is a folder" in run("audit", "export", shop, "--format", "csv", "--out", tmp_path, status=2).stderr
    assert [file.name for file in tmp_path.iterdir() if "trail" in file.name] == []


def test_an_export_that_breaks_off_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"
    out.write_bytes(b"earlier")
    run("audit", "export", f"sqlite:///{tmp_path}/none.db", "--format", "csv", "--out", out, status=1)
    assert out.read_bytes() == b"earlier"


def test_the_check_says_what_is_wrong_and_fails(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"
    run("audit", "export", shop, "--format", "csv", "--out", out)
    assert "The trail is intact" in run("audit", "verify", out).stdout
    content = out.read_bytes()
    middle = len(content) // 3
    out.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    done = run("audit", "verify", out, status=1)
    assert "wrong" in done.stdout and "NOT intact" in done.stderr
    out.write_bytes(content[:-10])
    assert "Was it cut off?" in run("audit", "verify", out, status=1).stdout
    assert run_json("audit", "verify", out, status=1)[0]["is_intact"] is False
    assert "There is no file" in run("audit", "verify", tmp_path / "none.zip", status=1).stderr
    assert "can't be read" in run("audit", "verify", tmp_path, status=1).stderr


def test_a_database_of_ecotone_is_exported(ecotone_url: str, tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"
    [made] = run_json("audit", "export", ecotone_url, "--format", "csv", "--out", out)
    assert made["count"] == 5020
    assert "intact" in run("audit", "verify", out).stdout
