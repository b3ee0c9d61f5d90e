"""Every block of every document is executed, and prints what the page says; every link leads somewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

import pytest
from support.guests import needs_python
from support.node import NODE
from support.pages import Command, File, Reader, parts, reader
from support.postgres import free_port, require, shared_server

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENGINES = DOCS / "engines"  # executed on their own servers, by tests/host/foreign/test_pages.py
LINKED = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if page.parent != ENGINES)]
OWNER, APP = "postgresql://owner@db/orders", "postgresql://cloche_app@db/orders"


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    shown = list(parts(_with_servers(page.read_text("utf-8"))))
    if shown:
        needs_python()
    with reader(tmp_path) as one:
        for part in shown:
            if isinstance(part, File) and part.name.endswith(".mjs") and NODE is None:
                pytest.skip("the rest of the page needs Node.js, which is not there")
            assert (differs := one.perform(part)) is None, differs


def test_every_how_to_and_the_tutorial_show_something_that_runs() -> None:
    of_readers = [page for page in PAGES if page.parent.name in ("how-to", "tutorial")]
    assert [page.name for page in of_readers if not list(parts(page.read_text("utf-8")))] == []


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_output_that_is_not_on_the_page_is_told(tmp_path: Path) -> None:
    one = Reader(tmp_path)
    assert one.perform(Command("echo one; echo two", "one\n")) is not None
    assert one.perform(Command("echo one 17 two", "one … two\n")) is None
    assert one.perform(Command("echo one; echo two; echo three", "one\n…\nthree\n")) is None
    assert one.perform(Command("true", "something\n")) is not None
    assert one.perform(File("a.py", "# a.py\nprint(5)\n")) is None
    assert one.perform(Command("python a.py", "5\n")) is None


def test_what_is_left_running_is_ended_with_the_page(tmp_path: Path) -> None:
    # Its number is in the file before it says a word.
    lines = ["# server.py", "import os, pathlib, time", "pathlib.Path('pid').write_text(str(os.getpid()))"]
    server = File("server.py", "\n".join([*lines, "print('up', flush=True)", "time.sleep(600)", ""]))
    with reader(tmp_path) as one:
        assert one.perform(server) is None
        assert one.perform(Command("python server.py &", "up\n")) is None
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, 0)  # it is there
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


UNEXECUTED = [
    "```python\nx = 1\n```",
    "```sh\nls\n```",
    "```\nls\n```",
    "```console\nls\n```",
    "* a\n  ```text\n  b\n  ```",
]


@pytest.mark.parametrize("text", UNEXECUTED)
def test_a_block_that_nothing_executes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nothing executes"):
        list(parts(f"{text}\n"))


def _with_servers(text: str) -> str:
    """The page with a free port for its server, and a database for that of its PostgreSQL; it skips where there is none."""
    if OWNER in text or APP in text:
        text = _with_postgres(text)
    for port in ("4700", "4701", "4702", "4703"):
        text = text.replace(port, str(free_port())) if port in text else text
    return text


def _with_postgres(text: str) -> str:
    require()
    server, database = shared_server(), f"docs_{uuid4().hex[:12]}"
    for role in ("owner", "cloche_app", "cloche_prune"):
        if not server.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            server.psql(f"CREATE ROLE {role} LOGIN")
    server.psql(f"CREATE DATABASE {database} OWNER owner")
    return text.replace("@db/orders", f"@127.0.0.1:{server.port}/{database}")
