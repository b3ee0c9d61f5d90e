"""Screens against stored images, and against axe's rules for people who do not see, or see badly, or use no mouse.

An image is compared in blocks: fonts and rounding differ between machines, and what moves by itself is covered. The stored ones
are renewed with `CLOCHE_KEEP_SCREENS=1`.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.dashboard import begin_all, targets
from support.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
AXE = Path(__file__).parents[3] / "host" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
STORED = HERE / "screens"
BLOCK = 12  # pixels on a side that are taken as one
DIFFERENT_MIN = 24  # of 255: what one sees
SHARE_MAX = 0.03  # of the blocks: a row that is gone is more
PLACES = {
    "runs": "runs",
    "failed": "runs?q=status:failed",
    "failures": "runs?view=failures",
    "workflows": "workflows",
    "workflow": "workflows/fulfil",
    "schedules": "schedules",
    "workers": "workers",
    "usage": "usage",
    "start": "runs?start=fulfil",
    "run": "runs/A-1015?step=approve",
}
MOVING = (
    "time, .lede p, .c6, .c7, table.usage td, .firings, .instants, .list.plain td.r, .list.plain td.id, .facts, "
    ".scrub, .say em, .tl, .tm, .insp, .crumb .faint"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(*targets(), store=str(tmp_path_factory.mktemp("screens") / "runs.db")) as made:
        begin_all(made)
        nightly = {"workflow": "stock-sync", "cron": "0 3 * * *", "tz": "Europe/Warsaw", "input": {}}
        assert made._client.put("/v1/schedules/nightly", json=nightly).status_code == 200
        yield made


@pytest.fixture
def reader(browser: Browser) -> Iterator[Page]:
    """One to whom axe is injected: the page's own policy would not let it in."""
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def shown(page: Page, server: Serving, place: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{server.url}/#/{place}")
    page.reload()
    page.get_by_role("heading", level=1).wait_for()
    page.locator(".rows-all [role=row], .list.plain tbody tr, .graph .node").first.wait_for()
    if place == "runs":
        page.get_by_text("asks: Ship").first.wait_for()
    if "start" in place:
        page.get_by_label("Customer").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing(reader: Page, server: Serving, place: str, scheme: str) -> None:
    shown(reader, server, PLACES[place], scheme)
    reader.add_script_tag(content=AXE.read_text("utf-8"))
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    found = reader.evaluate("rules => axe.run(document, rules)", rules)
    told = [
        (one["id"], node["target"], node["failureSummary"]) for one in found["violations"] for node in one["nodes"][:3]
    ]
    assert told == []
    assert len(found["passes"]) > 10


@pytest.mark.parametrize("place", PLACES)
def test_nothing_scrolls_sideways_at_any_width(page: Page, server: Serving, place: str) -> None:
    shown(page, server, PLACES[place], "light")
    for width in (390, 768, 1440, 3840):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["runs", "failures", "workflow", "schedules", "start", "run"])
def test_a_screen_is_as_it_was_looked_at(page: Page, server: Serving, place: str, scheme: str) -> None:
    page.set_viewport_size({"width": 1200, "height": 720})
    shown(page, server, PLACES[place], scheme)
    data = page.screenshot(animations="disabled", caret="hide", mask=[page.locator(MOVING)], mask_color="#808080")
    file = STORED / f"{place}-{scheme}.png"
    blocks = blocks_of(page, data)
    if os.environ.get("CLOCHE_KEEP_SCREENS"):
        STORED.mkdir(exist_ok=True)
        file.write_bytes(as_png(blocks, 1200 // BLOCK))
    before = of_png(file.read_bytes())
    assert len(before) == len(blocks)
    different = sum(
        any(abs(before[at + i] - blocks[at + i]) > DIFFERENT_MIN for i in range(3)) for at in range(0, len(before), 3)
    )
    assert different / (len(before) / 3) <= SHARE_MAX, f"{different} of {len(before) // 3} blocks are others"


def as_png(pixels: list[int], width: int) -> bytes:
    """A picture of these pixels, without filters."""
    lines = [b"\0" + bytes(pixels[at : at + 3 * width]) for at in range(0, len(pixels), 3 * width)]
    head = struct.pack(">IIBBBBB", width, len(lines), 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def of_png(data: bytes) -> bytes:
    """The pixels of a picture that `as_png` has made."""
    width, size = struct.unpack(">I", data[16:20])[0], struct.unpack(">I", data[33:37])[0]
    lines = zlib.decompress(data[41 : 41 + size])
    return b"".join(lines[at + 1 : at + 1 + 3 * width] for at in range(0, len(lines), 1 + 3 * width))


def blocks_of(page: Page, data: bytes) -> list[int]:
    """The mean colour of each block of a picture, row by row: red, green, blue. The browser decodes it."""
    script = """async ([data, block]) => {
      const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
      const [w, h] = [Math.floor(bitmap.width / block), Math.floor(bitmap.height / block)];
      const canvas = new OffscreenCanvas(w, h), context = canvas.getContext('2d');
      context.imageSmoothingQuality = 'high';
      context.drawImage(bitmap, 0, 0, w * block, h * block, 0, 0, w, h);
      return [...context.getImageData(0, 0, w, h).data].filter((_, i) => i % 4 < 3);
    }"""
    found: list[int] = page.evaluate(script, [base64.b64encode(data).decode(), BLOCK])
    return found
