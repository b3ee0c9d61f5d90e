"""A run in a notebook: HTML without scripts, whatever stands in its texts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from support.apps import Journal, in_loop

from cloche import Cloche, StepContext, SyncCloche, create_workflow
from cloche.client.pictures import picture_now
from cloche.operations.picture import RunPicture, picture_of

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


class Tags(HTMLParser):
    """The names of all elements, and of all attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


@in_loop
async def test_a_run_shows_itself_in_a_notebook(journal: Journal, tmp_path: Path) -> None:
    workflow = create_workflow(id="asking").then(journal.ask()).commit()
    async with Cloche(tmp_path / "runs.db", workflows=[workflow]) as app:
        run = await app.start("asking", {"v": 1}, run_id="order-17")
        await run.result()
        html = run._repr_html_()  # as a notebook does, in a loop that runs
        assert re.sub(r"[\d.]+", "0", html) == re.sub(r"[\d.]+", "0", picture_now(run))  # it waits on while it is drawn
        assert re.search(
            r"suspended.*order-17.*Waits for data: <code>ask</code>.*<svg.*step suspended", html, re.DOTALL
        )


@in_loop
async def test_no_text_becomes_markup(journal: Journal) -> None:
    async def refuse(data: Any, ctx: StepContext) -> Any:
        raise ValueError(HOSTILE)

    step = journal.acts("<img src=x onerror=alert(1)>", refuse)
    workflow = create_workflow(id="<b>w").then(step).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        run = await app.start(workflow.id, {"a": HOSTILE}, run_id="<i>r")
        await run.result()
        html = (await run.picture()).html
    found = Tags(html)
    drawn = {"div", "b", "code", "span", "svg", "rect", "text", "title", "table", "tbody", "tr", "td"}
    assert found.names <= drawn
    assert not any(name.startswith("on") or name in ("href", "src") for name in found.attributes)
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_without_async_too(journal: Journal) -> None:
    workflow = create_workflow(id="adding").then(journal.inc()).commit()
    with SyncCloche("memory:", workflows=[workflow]) as app:
        run = app.start("adding", {"v": 1})
        run.result()
        assert "success" in run._repr_html_()


def test_a_run_that_has_not_begun_has_a_picture() -> None:
    picture = picture_of("r1", "w", "pending", [], 0)
    assert (str(picture), "<svg" in picture.html) == ("run r1: pending", False)


def test_a_store_that_has_to_be_waited_for_says_how_to_see_it() -> None:
    class Far:
        id = "<r>"

        async def picture(self) -> RunPicture:
            import asyncio

            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody waits")

    html = picture_now(Far())
    assert "await run.picture()" in html
    assert "<r>" not in html
