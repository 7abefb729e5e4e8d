"""The fenced blocks of a page of the docs, as those who run and check them want them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

root = Path(__file__).resolve().parents[2]
guide = sorted((root / "docs" / "guide").glob("*.md"))
reference = sorted((root / "docs" / "reference").glob("*.md"))
readme = root / "README.md"
packages = ("webapp.store", "webapp.projections", "webapp.testing")
"""Whose public names the reference shows."""
languages = ("python", "sh", "toml", "text", "sql", "json", "nginx", "systemd", "dockerfile")
"""What a block may be; only `python` and `sh` are run, and `toml` with a title is written to a file."""

_fence = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_title = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, title and text, and the line of the page that its text begins at."""

    language: str
    title: str | None
    text: str
    line: int

    @property
    def is_output(self) -> bool:
        """Whether it shows what the block before it prints."""
        return self.language == "text" and self.title == "Output"

    @property
    def is_run(self) -> bool:
        """Whether it's executed: a file is only written, and used by what comes after it."""
        return self.language in ("python", "sh") and self.title is None


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text()
    blocks = []
    for match in _fence.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = _title.search(rest)
        body = re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start("body")) + 1
        blocks.append(Block(language, title and title[1], body, line))
    return blocks


def databases(page: Path) -> tuple[str, ...]:
    """The databases that a page's snippets run on: SQLite, and others where its first line says so."""
    first = page.read_text().partition("\n")[0]
    named = re.fullmatch(r"<!-- snippets: (.*) -->", first)
    return ("sqlite", *named[1].split()) if named else ("sqlite",)
