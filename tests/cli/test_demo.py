"""`projectionist demo` on a home that is there already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from webapp.demo import make_demo
from webapp.store import EventStore


def test_a_demo_store_of_an_older_version_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    make_demo(path, events=1_000)
    store = EventStore.open(f"sqlite:///{path}")
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE projectionist_snapshots")
        connection.exec_driver_sql("UPDATE projectionist_version SET version_num = 'store_0002'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTIONIST_")}
    environment |= {"PROJECTIONIST_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", "from webapp.cli import main; main()", "demo"],
        check=True, capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert "is there already" in done.stderr
    store.check()
    store.close()
