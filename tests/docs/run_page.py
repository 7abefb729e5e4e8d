"""Runs a page's snippets as one program: python in one namespace, shell commands in the same folder.

    python run_page.py < blocks.json > outcomes.json

A process of its own for each page, so that no page profits from what another one left behind.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import subprocess
import sys
import traceback
import types
from pathlib import Path
from typing import Any


def main() -> None:
    """Runs each block until one fails, and tells what each printed."""
    blocks = json.load(sys.stdin)
    page = types.ModuleType("page")
    sys.modules["page"] = page  # dataclasses and fingerprints look there for the module of a class
    sys.path.insert(0, str(Path.cwd()))
    outcomes: list[dict[str, Any]] = []
    for block in blocks:
        if block["title"] is not None:
            Path(block["title"]).write_text(block["text"])
            outcomes.append({"printed": "", "failed": None})
            continue
        run = run_python if block["language"] == "python" else run_shell
        printed, failed = run(block, page)
        outcomes.append({"printed": printed, "failed": failed})
        if failed:
            break
    json.dump(outcomes, sys.stdout)


def run_python(block: dict[str, Any], page: types.ModuleType) -> tuple[str, str | None]:
    """What a python snippet printed, and the traceback if it raised."""
    source = "\n" * (block["line"] - 1) + block["text"]
    name = f"<{block['page']}:{block['line']}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name, "exec"), vars(page))
    except BaseException:
        return printed.getvalue(), traceback.format_exc()
    return printed.getvalue(), None


def run_shell(block: dict[str, Any], _: types.ModuleType) -> tuple[str, str | None]:
    """What commands printed, on both streams, and what to say if one of them failed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", block["text"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    return done.stdout, f"exit status {done.returncode}\n{done.stdout}" if done.returncode else None


if __name__ == "__main__":
    main()
