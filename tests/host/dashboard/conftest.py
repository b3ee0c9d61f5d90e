"""The dashboard in a real browser: Debian's Chromium, which Playwright drives, on a `cloche serve` of its own.

Without Chromium these tests are skipped, and say so; with `CLOCHE_REQUIRE_BROWSER=1` that is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE_MS = int(os.environ.get("CLOCHE_PATIENCE_MS", "60000"))  # the machine may stand still for a while


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module: while it runs, its thread has an event loop, which no other module is to meet."""
    program = os.environ.get("CLOCHE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("CLOCHE_REQUIRE_BROWSER"):
            pytest.fail("there is no Chromium, and CLOCHE_REQUIRE_BROWSER asks for one: apt-get install chromium")
        pytest.skip("there is no Chromium on this machine: the dashboard is not tested in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none", "--force-color-profile=srgb"],
            timeout=PATIENCE_MS,
        )
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A reader of its own: no cookies, nothing kept."""
    made = browser.new_context(
        viewport={"width": 1440, "height": 900},
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
        color_scheme="light",
    )
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; whatever it says is wrong, and each request that leaves the server's origin, fails the test."""
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    made.on("console", lambda said: wrong.append(said.text) if said.type == "error" and _is_wrong(said.text) else None)
    origins: set[str] = set()
    made.on("request", lambda request: origins.add("/".join(request.url.split("/")[:3])))
    yield made
    assert wrong == []
    assert len({origin for origin in origins if not origin.startswith(("data:", "blob:", "about:"))}) <= 1


def _is_wrong(text: str) -> bool:
    """A status that the page copes with, and a server that is away, are told by the browser too."""
    return "Failed to load resource" not in text
