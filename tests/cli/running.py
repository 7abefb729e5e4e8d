"""Runs the command as people do: a process of its own, asked for its output and exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_command = [sys.executable, "-c", "from webapp.cli import main; main()"]


def run(*arguments: object, status: int = 0, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What the command printed, which must end with that status and never shows a traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTIONIST_")}
    environment |= {
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        "COLUMNS": "120",
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [*_command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=folder,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def run_json(*arguments: object, status: int = 0) -> list[Any]:
    """The objects printed with --json, one a line."""
    lines = run(*arguments, "--json", status=status).stdout.split("\n")[:-1]
    return [parse(line) for line in lines]


def parse(line: str) -> Any:
    """The object of a line; a payload nested too deep for any parser counts as an empty list."""
    return json.loads(re.sub(r"\[{2000,}\]{2000,}", "[]", line))
