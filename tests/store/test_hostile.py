"""Hostile payloads: each is stored as written or refused with a sentence, and no reader crashes or fills the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import run
from tests.store.helpers import count, reopen
from tests.store.vaults import make_vault
from tests.web.conftest import Browser, password
from webapp.app import create_app
from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import format_named
from webapp.audit.trail import Scope, Trail
from webapp.audit.verify import verify
from webapp.config import Config
from webapp.errors import InvalidEvent, NotFound, ProjectionistError, UpcastingFailed
from webapp.projections import Context, Projection, run_to_head
from webapp.store import EventStore, NewEvent, PersonalData, RecordedEvent, Repository, Serializer, aggregate, applies
from webapp.store.copying import copy_store
from webapp.web.context import Dashboard

deepest = 20_000
texts = {
    "deep arrays": "[" * deepest + "]" * deepest,
    "deep objects": '{"a":' * deepest + "1e400" + "}" * deepest,
    "NUL": r'{"\u0000": "a\u0000b", "n": null}',
    "lone surrogates": r'{"\ud800": ["\udfff\ud800", "\ud83d"]}',
    "huge numbers": '{"a": 1e400, "b": -1E400, "c": ' + "9" * 5_000 + ', "d": 0.1000000000000000055511151231257827, "e": -0}',
    "duplicate keys": '{"a": 1,  "a": 2, "__proto__": {}, "constructor": 3, "a": {"a": 1, "a": [ ]}}',
    "markup": '{"<script>alert(1)</script>": "]]> --> ${jndi:x} {{7*7}} =1+1", "b": "\\u202e\u202e\u2028\x7f"}',
    "quotes": json.dumps({"'": "\\' ; DROP TABLE projectionist_events; -- %s {p} :a ? $1", "b": "\\" * 99}),
}  # fmt: skip
refused = ['{"a": NaN}', "[Infinity]", "-Infinity", "[" * deepest, '{"a":' * deepest, '"a\x00b"', '"\ud800"', '{"a" 1}']
values: list[Any] = [
    {"\x00": "a\x00b"}, {"\ud800": "\udfff"}, {"n": 10**4_000}, {"n": [0.1, -0.0, 1e308, 5e-324]}, {"__proto__": [None]},
]  # fmt: skip


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture
def hostile(store: EventStore) -> EventStore:
    """A store with every hostile payload in one stream, as text and as bytes, and as metadata where it's an object."""
    for text in texts.values():
        store.append("order", "1", [NewEvent("noted", text)])
        store.append("order", "1", [NewEvent("noted", text.encode()), NewEvent("noted", 1, _metadata(text))])
    for value in values:
        store.append("order", "1", [NewEvent("noted", value)])
    return store


def _metadata(text: str) -> str | None:
    """What may be metadata: objects that can be decoded, for every append looks into them."""
    return text if text.startswith("{") and len(text) < 1_000 else None


def test_payloads_are_stored_byte_for_byte_or_refused_with_a_sentence(hostile: EventStore) -> None:
    expected = [text for text in texts.values() for text in (text, text, "1")]
    fresh = reopen(hostile)
    read = list(fresh.read_log("main"))
    fresh.close()
    assert [event.data_text for event in read[: len(expected)]] == expected
    assert [event.metadata_text for event in read[2 : len(expected) : 3]] == [
        _metadata(t) or "{}" for t in texts.values()
    ]
    for event, value in zip(read[len(expected) :], values, strict=True):
        assert repr(event.data) == repr(value)
    before = count(hostile, "projectionist_events")
    for text in refused:
        for data in (text, text.encode("utf-8", "surrogatepass")):
            with pytest.raises(InvalidEvent, match=r"The data of noted is .*\. Give JSON text"):
                hostile.append("order", "1", [NewEvent("fine", 1), NewEvent("noted", data)])
    for value in (
        float("nan"),
        {"a": [float("inf")]},
        nested(deepest),
        {"a": nested(deepest)},
        {"a": {1, 2}},
        10**5_000,
    ):
        with pytest.raises(InvalidEvent, match="The data of noted can't be written as JSON"):
            hostile.append("order", "1", [NewEvent("noted", value)])
    for name in ("deep objects", "huge numbers"):
        with pytest.raises(InvalidEvent, match="The metadata of noted can't be used"):
            hostile.append("order", "1", [NewEvent("noted", 1, texts[name])])
    assert count(hostile, "projectionist_events") == before


def decode(event: RecordedEvent) -> None:
    """Decodes data and metadata; that it can't be is said by ValueError and nothing else."""
    for part in ("data", "metadata", "occurred_at"):
        try:
            getattr(event, part)
        except ValueError as error:
            assert str(error) in ("nested too deep to be decoded", "written with a number too long to be decoded")


def test_every_reader_of_the_library_goes_over_them(hostile: EventStore, tmp_path: Path) -> None:
    log = list(hostile.read_log("main"))
    for event in log:
        decode(event)
        line = event.to_json()
        assert f'"data":{event.data_text!s},"metadata":{event.metadata_text!s},' in line
        if _name(event) in ("deep arrays", "deep objects", "huge numbers"):
            continue
        assert json.loads(line)["data"] == event.data
    assert [hostile.event("main", event.position).data_text for event in log] == [event.data_text for event in log]
    assert [event.data_text for event in hostile.read_stream("order", "1")] == [event.data_text for event in log]
    with hostile.subscribe("main") as subscription:
        assert [next(subscription).data_text for _ in log] == [event.data_text for event in log]
    serializer = Serializer()
    assert [given is event for event, given in serializer.load_all(log)] == [True] * len(log)
    assert list(serializer.upcast_all(log)) == log
    target = EventStore.open(f"sqlite:///{tmp_path / 'copy.db'}")
    try:
        target.migrate()
        (copy,) = copy_store(hostile, target)
        assert copy.copied == len(log)
        assert [event.to_json() for event in target.read_log("main")] == [event.to_json() for event in log]
    finally:
        target.close()


def _name(event: RecordedEvent) -> str:
    return next((name for name, text in texts.items() if text == event.data_text), "")


def test_code_that_needs_what_cannot_be_decoded_says_so_and_the_rest_goes_on(hostile: EventStore) -> None:
    serializer = Serializer()
    serializer.upcaster("noted", from_revision=1)(lambda data: data)
    raised = 0
    for event in hostile.read_log("main"):
        try:
            assert serializer.upcast(event)[0].type == "noted"
        except UpcastingFailed as error:
            raised += 1
            assert "can't be upcast" in str(error)
            assert len(str(error)) < 1_000
    assert 0 < raised < 12

    @aggregate("order", ignores_unknown=True)
    class Order:
        def __init__(self) -> None:
            self.seen = 0

        @applies("noted")
        def note(self, event: RecordedEvent) -> None:
            self.seen += 1

    assert Repository(hostile, Order).load("1").seen == count(hostile, "projectionist_events")
    seen: list[int] = []
    projection = Projection("seen")

    @projection.on("noted")
    def see(event: RecordedEvent, context: Context) -> None:
        seen.append(event.position)

    assert run_to_head(hostile, projection) == len(seen) == count(hostile, "projectionist_events")


@pytest.mark.parametrize("format_name", ["csv", "ndjson"])
def test_a_trail_of_them_is_intact(hostile: EventStore, tmp_path: Path, format_name: str) -> None:
    archive = Archive(Trail(hostile, Scope()), format_named(format_name), Origin("shop", "ann", "test"))
    (tmp_path / "trail.zip").write_bytes(b"".join(archive))
    report = verify(tmp_path / "trail.zip")
    assert report.is_intact, report.problems
    assert report.manifest is not None
    assert report.manifest.count == count(hostile, "projectionist_events")


def test_commands_go_over_them(hostile: EventStore) -> None:
    url = hostile.database.url.render_as_string(hide_password=False)
    total = count(hostile, "projectionist_events")
    for command in (("events", url), ("history", url, "order", "1")):
        assert len(run(*command, "--json").stdout.split("\n")) == total + 1
        assert run(*command).stdout.count("noted") == total
    done = run("state", url, "order", "1", "--json")
    state = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["state"]
    assert state["\ud800"] == "\udfff"
    assert "nested too deep to be decoded: versions 1, 2" in done.stderr
    assert "order/1 at version" in run("state", url, "order", "1").stdout


@contextmanager
def dashboard(store: EventStore, folder: Path) -> Iterator[Browser]:
    """An admin at a dashboard with that store."""
    url = store.database.url.render_as_string(hide_password=False)
    app = create_app(Config(home_folder=folder / "home", admin_password=password, stores=(("shop", url),)))
    parts: Dashboard = app.extensions["projectionist"]
    try:
        browser = Browser(app)
        assert browser.log_in().status_code == 303
        yield browser
    finally:
        parts.close()


def test_pages_show_them(hostile: EventStore, tmp_path: Path) -> None:
    log = list(hostile.read_log("main"))
    with dashboard(hostile, tmp_path) as browser:
        browser.read("/stores/shop/events")
        browser.read("/stores/shop/aggregates/order")
        for event in log:
            for query in ("", "?as=stored"):
                page = browser.read(f"/stores/shop/events/main/{event.position}{query}")
                assert "<script>alert" not in page
            content = browser.get(f"/stores/shop/events/main/{event.position}/payload").get_data()
            assert content == str(event.data_text).encode()
            for tab in ("state", "payload", "change"):
                page = browser.read(f"/stores/shop/aggregates/order/1?version={event.version}&tab={tab}")
                assert "<script>alert" not in page
        for form in ("csv", "ndjson"):
            archive = browser.get(f"/stores/shop/audit/download?format={form}").get_data()
            (tmp_path / form).write_bytes(archive)
            assert verify(tmp_path / form).is_intact


def test_a_vault_keeps_them_or_refuses_with_a_sentence(store: EventStore) -> None:
    personal = PersonalData()
    personal.declare("noted", fields=["/secret"])
    protected = make_vault(store, personal).protected()
    kept = []
    for name, text in texts.items():
        data = f'{{"secret": {text}, "open": 1}}'
        try:
            protected.append("order", name, [NewEvent("noted", data)])
            kept.append(name)
        except ProjectionistError as error:
            assert "noted" in str(error)
            assert len(str(error)) < 500
            assert not list(store.read_stream("order", name))
    for name in kept:
        (event,) = protected.read_stream("order", name)
        assert texts[name] not in str(event.data_text)
        if name in ("deep arrays", "deep objects", "huge numbers"):
            assert list(event.data["secret"]) == ["unreadable"]
        else:
            assert event.data["secret"] == json.loads(texts[name])
    assert {"NUL", "lone surrogates", "markup", "quotes"} <= set(kept)


def test_names_that_no_database_holds_are_refused_or_found_nowhere(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("noted", 1)])
    for name in ("a\x00b", "\ud800", "x" * 300, ""):
        for names in ((name, "1", "noted", "main"), ("order", name, "noted", "main"), ("order", "1", name, "main"),
                      ("order", "1", "noted", name)):  # fmt: skip
            with pytest.raises(InvalidEvent):
                store.append(names[0], names[1], [NewEvent(names[2], 1)], log=names[3])
        assert list(store.read_stream("order", name)) == []
        assert list(store.read_stream(name, "1")) == []
        with pytest.raises(NotFound):
            list(store.read_log(name))
    assert count(store, "projectionist_events") == 1
