"""The two files of a day: each part is a section of the page and a key of the JSON, and leaves the others' as they are."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_part(
    folder: Path, at: dt.datetime, name: str, heading: str, text: str, values: Mapping[str, Any]
) -> None:  # fmt: skip
    """Puts one part's results into the files of the day."""
    folder.mkdir(exist_ok=True)
    page, data = folder / f"{at:%Y-%m-%d}.md", folder / f"{at:%Y-%m-%d}.json"
    page.write_text(replace_section(page.read_text() if page.exists() else "", heading, text))
    data.write_text(json.dumps({**read_values(data), name: values}, indent=1) + "\n")


def read_values(data: Path) -> dict[str, Any]:
    """What the JSON of the day holds so far, by part."""
    if not data.exists():
        return {}
    values: dict[str, Any] = json.loads(data.read_text())
    # Before there were parts, the file was that of the only one.
    return {"speeds": values} if "results" in values else values


def replace_section(page: str, heading: str, text: str) -> str:
    """The page with the section under `# heading…` replaced, or added at its end."""
    sections = [section for section in re.split(r"(?m)^(?=# )", page) if section.strip()]
    ours = f"{text.rstrip()}\n\n"
    at = next((n for n, section in enumerate(sections) if section.startswith(f"# {heading}")), len(sections))
    sections[at : at + 1] = [ours]
    return "".join(section.rstrip() + "\n\n" for section in sections).rstrip() + "\n"


def merge_rows(had: Iterable[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Today's rows of databases that were not measured again, and the new ones, by database as they first came."""
    measured = {row["database"] for row in rows}
    kept = [row for row in had if row["database"] not in measured]
    order = ["sqlite", "postgresql", "mariadb", "mysql"]
    return sorted([*kept, *rows], key=lambda row: order.index(row["database"]))
