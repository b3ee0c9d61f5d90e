"""The documents as a site: every page is on it and is found from its menu or from another page, and all of it is its own."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FROM_ELSEWHERE = r'<(?:script|img|iframe|link)[^>]+(?:src|href)="?(https?:)?//[^">]+'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(DOCS / "build.py"), str(directory)], check=True, capture_output=True)
    return directory / "site"


def test_every_document_is_on_it(site: Path) -> None:
    pages = [page.relative_to(ROOT) for page in sorted(DOCS.rglob("*.md"))]
    assert [page for page in pages if not _on_it(site, page).is_file()] == []
    assert (site / "index.html").is_file()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    folder = site / "docs" / "reference"
    headings = {
        name for page in folder.glob("*.html") for name in re.findall(r"<h2 id=[^>]*>(\w+)", page.read_text("utf-8"))
    }
    assert sorted(set(import_module("cloche").__all__) - headings) == []
    running = (folder / "running.html").read_text("utf-8")
    assert "Cloche.start" in running
    assert "async def start(" in running


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = [
            match[0] for match in re.finditer(FROM_ELSEWHERE, page.read_text("utf-8")) if "canonical" not in match[0]
        ]
        assert found == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?https?:", sheet.read_text("utf-8")) == [], sheet


def test_links_between_pages_lead_to_pages(site: Path) -> None:
    missing = []
    for page in set(site.rglob("*.html")) - {site / "404.html"}:  # which may stand anywhere
        for link in re.findall(r'<a[^>]+href="?([^">\s#]+\.html)', page.read_text("utf-8")):
            if not link.startswith("http") and not (page.parent / link).is_file():
                missing.append(f"{page.relative_to(site)}: {link}")
    assert missing == []


def _on_it(site: Path, page: Path) -> Path:
    return site / page.parent / ("index.html" if page.name == "README.md" else f"{page.stem}.html")
