"""A part's results stand beside those of the others, and replace only its own."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from bench.sections import merge_rows, replace_section, write_part

at = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
old_page = "# Benchmark of 2026-11-24\n\nfast\n\n## How\n\n- so\n"


def test_a_new_section_comes_after_the_others() -> None:
    page = replace_section(old_page, "Pages", "# Pages of 2026-11-24\n\nnear\n")
    assert page == old_page + "\n# Pages of 2026-11-24\n\nnear\n"


def test_a_section_is_replaced_where_it_stands() -> None:
    page = replace_section(old_page, "Pages", "# Pages of 2026-11-24\n\nnear\n")
    page = replace_section(page, "Benchmark", "# Benchmark of 2026-11-24\n\nfaster\n")
    assert page == "# Benchmark of 2026-11-24\n\nfaster\n\n# Pages of 2026-11-24\n\nnear\n"


def test_files_of_the_day_keep_what_other_parts_wrote(tmp_path: Path) -> None:
    (tmp_path / "2026-11-24.json").write_text(json.dumps({"at": "today", "results": [1]}))
    (tmp_path / "2026-11-24.md").write_text(old_page)
    write_part(tmp_path, at, "pages", "Pages", "# Pages of 2026-11-24\n\nnear\n", {"rows": [2]})
    assert json.loads((tmp_path / "2026-11-24.json").read_text()) == {
        "speeds": {"at": "today", "results": [1]},
        "pages": {"rows": [2]},
    }
    assert (tmp_path / "2026-11-24.md").read_text().startswith(old_page)


def test_a_first_part_makes_the_files(tmp_path: Path) -> None:
    write_part(tmp_path / "results", at, "pages", "Pages", "# Pages\n", {"rows": []})
    assert (tmp_path / "results/2026-11-24.md").read_text() == "# Pages\n"


def test_rows_of_databases_that_were_left_out_stay() -> None:
    had = [{"database": "sqlite", "n": 1}, {"database": "mysql", "n": 2}]
    rows = [{"database": "postgresql", "n": 3}, {"database": "mysql", "n": 4}]
    assert [row["n"] for row in merge_rows(had, rows)] == [1, 3, 4]
