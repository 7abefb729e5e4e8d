"""What the docs show is what happens: every snippet of a page runs, in order, and prints what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import create_database
from tests.docs.pages import Block, databases, guide, languages, read_blocks, readme, reference, root

written_url = "sqlite:///shop.db"
"""The database of every snippet, which stands for another one where a page runs on that as well."""

runs = [
    pytest.param(page, database, id=f"{page.stem}-{database}")
    for page in (readme, *guide, *reference)
    for database in databases(page)
    if any(block.is_run for block in read_blocks(page))
]


@pytest.mark.parametrize(("page", "database"), runs)
def test_the_snippets_of_a_page_run_and_print_what_it_shows(page: Path, database: str, tmp_path: Path) -> None:
    url, drop = (written_url, lambda: None) if database == "sqlite" else create_database(database, tmp_path)
    blocks = read_blocks(page)
    try:
        outcomes = iter(run_page(page, blocks, url, tmp_path))
        failures = list(compare(page, blocks, outcomes))
    finally:
        drop()
    assert not failures, "\n\n".join(failures)


def run_page(page: Path, blocks: list[Block], url: str, folder: Path) -> list[dict[str, Any]]:
    """What became of each block that is run or written, in order, up to the first that failed."""
    asked = [
        {"page": page.name, "language": b.language, "title": b.title, "line": b.line, "text": b.text.replace(written_url, url)}
        for b in blocks
        if b.is_run or is_file(b)
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTIONIST_")}
    environment |= {"PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8", "COLUMNS": "120", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:page", Path(__file__).parent / "run_page.py"],
        input=json.dumps(asked), capture_output=True, text=True, timeout=240, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr  # log lines may stand there
    return json.loads(done.stdout)


def compare(page: Path, blocks: list[Block], outcomes: Any) -> Any:
    """A sentence for each block that failed, or printed something else than the page shows after it."""
    printed, line = None, 0
    for block in blocks:
        if block.is_run or is_file(block):
            outcome = next(outcomes)
            printed, line = outcome["printed"], block.line
            if outcome["failed"]:
                yield f"{page.name}:{line} fails:\n{outcome['failed']}"
                return
        elif block.is_output:
            assert printed is not None, f"{page.name}:{block.line} shows an output of nothing"
            if not is_like(block.text, printed):
                yield f"{page.name}:{line} prints\n{printed}\nbut the page shows\n{block.text}"
            printed = None


def is_file(block: Block) -> bool:
    """Whether a block is written to a file of that name, for what comes after it."""
    return block.title is not None and not block.is_output and block.language in ("python", "toml", "text")


def is_like(shown: str, printed: str) -> bool:
    """Whether an output is as shown: … stands for anything within a line, a line of it alone for any lines."""
    pattern = "\n".join(
        r"(?:.*\n)*?.*" if line.strip() == "…" else ".*?".join(re.escape(part) for part in line.rstrip().split("…"))
        for line in shown.strip("\n").split("\n")
    )
    actual = "\n".join(line.rstrip() for line in printed.strip("\n").split("\n"))
    return re.fullmatch(pattern, actual) is not None


@pytest.mark.parametrize("page", [readme, *guide, *reference], ids=lambda page: page.stem)
def test_every_block_of_a_page_says_what_it_is(page: Path) -> None:
    assert [(block.line, block.language) for block in read_blocks(page) if block.language not in languages] == []


def test_an_output_is_compared_word_by_word_but_for_what_is_left_out() -> None:
    assert is_like("one\n…\nid … end\n", "one\ntwo\nthree\nid 0198 end\n")
    assert is_like("at …", "at 2026-01-01")
    assert not is_like("one\n", "one\ntwo\n")
    assert not is_like("one … two", "one \n two")
    assert not is_like("a.c", "abc")
