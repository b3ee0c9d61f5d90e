"""Text of somebody else's, wherever it can appear: it is shown, and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.dashboard import FLOWS, start, until
from support.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
TEXTS = {
    "markup": MARKUP,
    "quotes": "\"'`</textarea></title>{{7*7}}${7*7}&lt;b&gt;",
    "rtl": "\u202egnp.eciovni\u202c \u05e9\u05dc\u05d5\u05dd \u0639\u0631\u0628\u0649",
    "control": "a\x1b]0;owned\x07\x00\x9b31m\r\nb",
    "long": "W" * 5000,
    "zalgo": "Z\u0338\u0327\u0322\u0359" * 50,
}
MEGABYTE = "x" * 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    store = str(tmp_path_factory.mktemp("hostile") / "runs.db")
    with Serving(f"{FLOWS}:hostile", f"{FLOWS}:refusing", f"{FLOWS}:payment", store=store) as made:
        for name, text in TEXTS.items():
            start(made, "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", f"ok-{name}", {text: text, "deep": [[{"a": text}]]})
            start(made, "refusing", f"bad-{name}", text, tags={"why": text[:100]} if text.isprintable() else {})
        start(made, "refusing", "bad-megabyte", MEGABYTE[:900_000])
        start(made, "payment", MARKUP[:100], {})
        until(lambda: ended(made) == 2 * len(TEXTS) + 1)
        yield made


def ended(server: Serving) -> int:
    statuses: dict[str, Any] = server.get("/v1/summary").json()["statuses"]
    return sum(statuses[name]["count"] for name in ("success", "failed") if name in statuses)


def is_untouched(page: Page) -> bool:
    """No script of anybody else's has run, nothing of theirs is an element, and nothing is wider than the page."""
    wrong = "() => [document.title.includes('owned'), document.querySelector('img, .stage script') !== null, "
    wrong += "document.documentElement.scrollWidth > innerWidth + 1]"
    return bool(page.evaluate(wrong) == [False, False, False])


def test_the_list_shows_it_and_nothing_happens(page: Page, server: Serving) -> None:
    page.goto(server.url)
    page.get_by_role("row").nth(len(TEXTS) * 2).wait_for()
    page.get_by_text("RuntimeError").first.wait_for()
    page.get_by_text("waits for the event").wait_for()
    assert is_untouched(page)
    shown = page.locator(".rows-all").inner_text()
    assert "<img src=x onerror=" in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("width", [390, 1440])
def test_it_stays_in_its_place_at_every_width(page: Page, server: Serving, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for place in ("runs", "runs?view=failures", "workflows", "workers", "usage", "schedules"):
        page.goto(f"{server.url}/#/{place}")
        page.get_by_role("heading", level=1).wait_for()
        assert is_untouched(page), place


def test_a_search_and_its_address_may_hold_anything(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/runs?q=%3Cscript%3Edocument.title%3D'owned'%3C%2Fscript%3E%20status%3A%3Cb%3E")
    page.get_by_role("alert").get_by_text("there is no status <b>").wait_for()
    assert is_untouched(page)
    page.goto(f"{server.url}/#/runs?q=%E0%A4%A&view=%00")
    page.get_by_role("heading", level=1).wait_for()
    page.goto(f"{server.url}/#/workflows/%2F..%2F..%2F%3Cimg%20src%3Dx%3E")
    page.get_by_role("heading", level=1).wait_for()
    assert is_untouched(page)


def test_a_workflow_may_be_called_anything(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/workflows")
    page.get_by_role("link", name="<img src=x onerror=alert(1)>").click()
    page.get_by_role("region", name="Source").get_by_text("export default").wait_for()
    assert is_untouched(page)


def test_what_is_asked_may_be_a_megabyte(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/runs?q=bad-megabyte")
    page.locator(".rows-all [role=row]", has_text="bad-megabyte").get_by_text("RuntimeError").wait_for()
    assert is_untouched(page)
    assert page.evaluate("() => document.body.textContent.length") < 100_000


def test_the_answer_of_the_server_may_be_anything(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/runs?q=bad-markup")
    page.route(
        "**/retry",
        lambda route: route.fulfill(
            status=409,
            content_type="application/problem+json",
            body='{"title": "<b>", "detail": "<img src=x onerror=1>\\u202e", "what_to_do": "<script>"}',
        ),
    )
    page.locator(".rows-all [role=row]", has_text="bad-markup").get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    page.get_by_role("alert").get_by_text("<img src=x onerror=1>").wait_for()
    assert is_untouched(page)
