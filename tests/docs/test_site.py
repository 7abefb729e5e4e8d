"""The site builds without a warning: every link leads somewhere, and every docstring can be shown."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import webapp.errors
from tests.docs.pages import packages, root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, made beside the checkout."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(root / "docs", folder / "docs", ignore=shutil.ignore_patterns("site", ".cache"))
    done = subprocess.run(
        [Path(sys.executable).parent / "zensical", "build", "--strict", "-f", "docs/mkdocs.yml"],
        capture_output=True, text=True, timeout=240, check=False, cwd=folder, env={"PYTHONPATH": str(root), "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "docs" / "site"


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    navigation = (root / "docs" / "mkdocs.yml").read_text()
    for page in (root / "docs").rglob("*.md"):
        name = page.relative_to(root / "docs").as_posix()
        assert name in navigation, f"{name} is not in the navigation of docs/mkdocs.yml"
        built = site / ("index.html" if name == "index.md" else f"{name[:-3]}/index.html")
        assert built.exists(), f"{name} was not built"


def test_the_reference_shows_every_public_name_with_its_signature_and_docstring(site: Path) -> None:
    for package in packages:
        page = (site / "reference" / package.rpartition(".")[2] / "index.html").read_text()
        names = importlib.import_module(package).__all__
        assert [name for name in names if f'id="{package}.{name}"' not in page] == []
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference" / "store" / "index.html").read_text()))
    for words in ("expected_version: int | None = None", "The events as recorded, all or none, in one transaction."):
        assert re.sub(r"\W+", "", words) in re.sub(r"\W+", "", text), f"{words} is missing"


def test_the_reference_shows_every_error(site: Path) -> None:
    page = (site / "reference" / "errors" / "index.html").read_text()
    names = [name for name, _ in inspect.getmembers(webapp.errors, inspect.isclass)]
    assert [name for name in names if f'id="webapp.errors.{name}"' not in page] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = "".join(page.read_text() for page in site.rglob("*.html"))
    loaded = re.findall(
        r'<(?:script|img|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="(https?://[^"]+)', pages
    )
    assert loaded == []
