"""Every block of these pages is executed, and prints what it says; every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.guests import needs_python
from support.pages import Command, File, parts, perform

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OPERATIONS = [DOCS / "operations" / name for name in ("backup.md", "outage.md", "workers.md")]
PAGES = [ROOT / "README.md", *sorted([*(DOCS / "tutorial").glob("*.md"), *(DOCS / "how-to").glob("*.md")]), *OPERATIONS]
LINKED = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    needs_python()
    shown = list(parts(page.read_text("utf-8")))
    assert shown
    for part in shown:
        assert (differs := perform(part, tmp_path)) is None, differs


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_output_that_is_not_on_the_page_is_told(tmp_path: Path) -> None:
    assert perform(Command("echo one; echo two", "one\n"), tmp_path) is not None
    assert perform(Command("echo one 17 two", "one … two\n"), tmp_path) is None
    assert perform(Command("echo one; echo two; echo three", "one\n…\nthree\n"), tmp_path) is None
    assert perform(Command("true", "something\n"), tmp_path) is not None
    assert perform(File("a.py", "# a.py\nprint(5)\n"), tmp_path) is None
    assert perform(Command("python a.py", "5\n"), tmp_path) is None


@pytest.mark.parametrize("text", ["```python\nx = 1\n```", "```sh\nls\n```", "```\nls\n```", "```console\nls\n```"])
def test_a_block_that_nothing_executes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nothing executes"):
        list(parts(f"{text}\n"))
