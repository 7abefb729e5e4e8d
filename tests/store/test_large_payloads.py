"""Large payloads: kept whole, read in memory that doesn't grow with their number, refused where a server won't take them."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.helpers import count, execute, reopen
from tests.store.test_hostile import dashboard, deepest
from tests.web.pages import text_of
from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import format_named
from webapp.audit.trail import Scope, Trail
from webapp.audit.verify import verify
from webapp.errors import RefusedData
from webapp.projections import Projection, run_to_head
from webapp.store import EventStore, NewEvent, Serializer
from webapp.store.copying import copy_store

megabyte = 2**20


def peak_megabytes(work: Callable[[], Any]) -> float:
    """By how much the process grew at most while the work was done."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _memory("VmRSS")
    work()
    return (_memory("VmHWM") - before) / 1024


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def drain(events: Iterator[Any]) -> None:
    for _ in events:
        pass


def test_64_megabytes_deep_and_hostile_are_kept_and_read(store: EventStore, tmp_path: Path) -> None:
    inside = r'{"n":1e400,"n":"\u0000","s":"' + r"\ud800x" * (4 * megabyte) + "y" * (36 * megabyte) + '"}'
    text = "[" * deepest + inside + "]" * deepest
    assert len(text) > 64 * megabyte
    store.append("order", "1", [NewEvent("noted", text)])
    store.append("order", "1", [NewEvent("noted", text.encode()), NewEvent("noted", {"s": "\x00" * (11 * megabyte)})])
    fresh = reopen(store)
    try:
        assert [event.data_text == text for event in fresh.read_log("main")] == [True, True, False]
        assert [len(event.data_text or "") // megabyte for event in fresh.read_stream("order", "1")] == [64, 64, 66]
        event = fresh.event("main", 1)
        with pytest.raises(ValueError, match="nested too deep"):
            _ = event.data
        assert f'"data":{text},"metadata"' in event.to_json()
        assert fresh.event("main", 3).data == {"s": "\x00" * (11 * megabyte)}
    finally:
        fresh.close()
    with dashboard(store, tmp_path) as browser:
        for position in (1, 3):
            assert "Only the first 64 KiB of 6" in text_of(browser.read(f"/stores/shop/events/main/{position}"))
            browser.read(f"/stores/shop/aggregates/order/1?version={position}&tab=state")
        assert browser.get("/stores/shop/events/main/2/payload").get_data() == text.encode()


def test_memory_is_bounded_however_many_large_payloads_there_are(store: EventStore, tmp_path: Path) -> None:
    size, number = 3 * megabyte, 100
    for index in range(number):
        store.append("order", "1", [NewEvent("noted", json.dumps([index, "z" * size]))])
    target = EventStore.open(f"sqlite:///{tmp_path / 'copy.db'}")
    target.migrate()
    projection = Projection("seen")
    seen: list[int] = []
    projection.on("noted")(lambda event, context: seen.append(event.position))
    subscription = store.subscribe("main")

    def follow() -> None:
        for _ in range(number):
            next(subscription)

    def export() -> None:
        with (tmp_path / "trail.zip").open("wb") as file:
            file.writelines(Archive(Trail(store, Scope()), format_named("csv"), Origin("shop", "ann", "test")))

    readers: dict[str, Callable[[], Any]] = {
        "read_log": lambda: drain(store.read_log("main", limit=None)),
        "read_stream": lambda: drain(store.read_stream("order", "1")),
        "load_all": lambda: drain(Serializer().load_all(store.read_log("main", limit=None))),
        "subscribe": follow,
        "projection": lambda: run_to_head(store, projection),
        "copy": lambda: copy_store(store, target),
        "export": export,
        "verify": lambda: verify(tmp_path / "trail.zip"),
    }
    try:
        peaks = {name: peak_megabytes(work) for name, work in readers.items()}
    finally:
        subscription.close()
        target.close()
    assert len(seen) == number
    assert {name: peak for name, peak in peaks.items() if peak > number * size / megabyte / 2} == {}


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
def test_what_the_server_takes_no_packet_for_is_refused_with_a_sentence(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("noted", 1)])
    ((limit,),) = execute(store, "SELECT @@max_allowed_packet")
    too_large = [json.dumps("x" * limit), json.dumps("\\" * (limit // 4 + 500))]
    for text in too_large:
        for events in ([NewEvent("noted", text)], [NewEvent("fine", 1), NewEvent("noted", text)]):
            with pytest.raises(
                RefusedData, match=r"max_allowed_packet is [0-9,]+\. Raise max_allowed_packet on the server"
            ):
                store.append("order", "1", events)
    assert [event.version for event in store.append("order", "1", [NewEvent("noted", 2)])] == [2]
    assert count(store, "projectionist_events") == 2


def test_a_subscription_ends_while_a_large_payload_is_held(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("noted", json.dumps("z" * megabyte))] * 1)
    stop = threading.Event()
    subscription = store.subscribe("main", stop=stop)
    assert next(subscription).position == 1
    stop.set()
    assert list(subscription) == []
