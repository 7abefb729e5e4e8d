"""The store is a library: it works where Flask and the web's other packages are not."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        blocked = {"flask", "flask_wtf", "werkzeug", "jinja2", "gunicorn", "argon2", "rich", "zipstream", "pydantic", "attr", "attrs",
               "django", "fastapi", "starlette"}
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")
        return None

sys.meta_path.insert(0, Blocker())
import webapp.store, webapp.projections
import pkgutil, importlib
for package in (webapp.store, webapp.projections):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
from webapp.store import EventStore, NewEvent
store = EventStore.open(sys.argv[1])
store.migrate()
store.append("order", "42", [NewEvent("order.placed", {"total": 100})], expected_version=0)
print([event.data for event in store.read_stream("order", "42")], store.settled_head("main"))
store.close()
layers = {"web", "queries", "audit", "replay", "domain", "accounts", "adapters", "cli", "app"}
print(sorted(name for name in sys.modules if name.startswith("webapp.") and name.split(".")[1] in layers))
"""


def test_it_works_without_flask_and_brings_no_other_layer(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, database_url], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "[{'total': 100}] 1\n[]\n"
