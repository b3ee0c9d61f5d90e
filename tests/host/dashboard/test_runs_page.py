"""The list of runs in a browser: what waits for a person comes first, says why, and has the button that moves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.dashboard import begin_all, counts, start, targets, until
from support.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(*targets(), store=str(tmp_path_factory.mktemp("runs") / "runs.db")) as made:
        begin_all(made)
        yield made


@pytest.fixture
def runs(page: Page, server: Serving) -> Page:
    page.goto(server.url)
    page.get_by_role("row").nth(20).wait_for()
    return page


def row(page: Page, id: str) -> str:
    """The text of a run's row."""
    text: str = page.locator(".rows-all [role=row]", has=page.get_by_role("link", name=id, exact=True)).inner_text()
    return " ".join(text.split())


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator(".rows-all .c1").all_inner_texts()
    return found


def test_one_sentence_says_how_all_runs_stand(runs: Page) -> None:
    assert runs.get_by_role("heading", level=1).inner_text() == "5 runs wait for a person, 4 failed."
    sub = runs.locator(".lede p").inner_text()
    assert sub.startswith("5 wait for a time or an event and cost nothing; 1 is at work. Oldest question: ")


def test_each_row_says_why_its_run_does_not_move(runs: Page) -> None:
    runs.get_by_text("asks: Ship").first.wait_for()
    assert row(runs, "A-1015").startswith("suspended A-1015 fulfil approve asks: Ship 1,684.54 EUR on credit? 38")
    assert "ValueError row 1,204 of stock.csv: quantity '12O' is no number" in row(runs, "sync-2026-11-27")
    assert "waits for the event paid" in row(runs, "pay-310")
    assert "sleeps until" in row(runs, "dun-71")
    assert "gather is at work" in row(runs, "rep-2026-10")
    assert '→ "stock.csv"' in row(runs, "sync-2026-11-26")


def test_what_waits_for_a_person_comes_first(runs: Page) -> None:
    assert ids(runs)[:9] == [
        *(f"A-{number}" for number in (1025, 1024, 1023, 1016, 1015)),
        "ref-2",
        "ref-1",
        "ref-0",
        "sync-2026-11-27",
    ]


def test_steps_are_shown_as_they_stand(runs: Page) -> None:
    runs.get_by_text("asks: Ship").first.wait_for()
    strip = runs.locator(".rows-all [role=row]").first.locator(".prog")
    assert strip.get_attribute("aria-label") == "7 of 8 steps done"


def test_a_filter_is_in_the_address_and_narrows_the_list(runs: Page, server: Serving) -> None:
    runs.get_by_role("button", name="failed 4", exact=True).click()
    runs.locator(".foot").get_by_text("4 runs", exact=True).wait_for()
    assert runs.url.endswith("#/runs?q=status%3Afailed")
    assert ids(runs) == ["ref-2", "ref-1", "ref-0", "sync-2026-11-27"]
    runs.go_back()
    runs.locator(".foot").get_by_text("24 runs", exact=True).wait_for()


def test_an_address_with_a_filter_opens_the_same_list(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/runs?q=workflow:fulfil tag:customer=acme status:suspended")
    page.locator(".foot").get_by_text("3 runs", exact=True).wait_for()
    assert ids(page) == ["A-1025", "A-1023", "A-1015"]
    assert page.get_by_label("Find runs").input_value() == "workflow:fulfil tag:customer=acme status:suspended"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("error:ValueError", ["sync-2026-11-27"]),
        ("step:refuse", ["ref-2", "ref-1", "ref-0"]),
        ("pay-311", ["pay-311"]),
        ("no number", ["sync-2026-11-27"]),
        ("workflow:payment age:1h", []),
        ("workflow:payment since:1h", ["pay-311", "pay-310"]),
    ],
)
def test_the_search_box_takes_the_words_of_the_api(page: Page, server: Serving, text: str, found: list[str]) -> None:
    page.goto(server.url)
    page.keyboard.press("/")
    page.get_by_label("Find runs").fill(text)
    page.get_by_label("Find runs").press("Enter")
    told = "1 run" if len(found) == 1 else f"{len(found)} runs"
    page.locator(".foot").get_by_text(told, exact=True).wait_for()
    assert ids(page) == found


def test_a_search_that_cannot_be_meant_is_said(runs: Page) -> None:
    runs.get_by_label("Find runs").fill("status:broken")
    assert "there is no status broken: one of" in runs.get_by_role("alert").inner_text()
    runs.get_by_label("Find runs").fill("age:often")
    runs.get_by_text("an age is a number and a unit, like 10m, 2h or 3d, not often").wait_for()


def test_the_box_completes_names_and_values(runs: Page) -> None:
    box = runs.get_by_label("Find runs")
    box.press_sequentially("st")
    runs.get_by_role("option", name="status:").wait_for()
    box.press("ArrowDown")
    box.press("Enter")
    assert box.input_value() == "status:"
    box.press_sequentially("fa")
    box.press("ArrowDown")
    box.press("Enter")
    assert box.input_value() == "status:failed "
    box.press_sequentially("error:")
    runs.get_by_role("option", name="ValueError").wait_for()
    box.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") == "find-0"


def test_a_filter_is_kept_under_a_name(runs: Page) -> None:
    runs.get_by_role("button", name="failed 4", exact=True).click()
    runs.get_by_role("button", name="Filters").click()
    runs.get_by_label("as", exact=False).last.fill("mine")
    runs.get_by_role("button", name="Keep", exact=True).click()
    runs.keyboard.press("Escape")
    runs.keyboard.press("Escape")
    runs.wait_for_url("**/#/runs")
    runs.get_by_role("button", name="Filters").click()
    runs.get_by_role("button", name="mine", exact=True).click()
    runs.wait_for_url("**q=status*")
    runs.get_by_role("button", name="Filters").click()
    runs.get_by_role("button", name="Forget the filter mine").click()
    runs.get_by_text("None is kept in this browser yet.").wait_for()


def test_keys_move_through_the_list(runs: Page) -> None:
    for key, expected in [("j", "A-1024"), ("ArrowDown", "A-1023"), ("k", "A-1024"), ("End", None), ("Home", "A-1025")]:
        runs.keyboard.press(key)
        current = runs.locator(".gridrow.cur .c1")
        if expected is not None:
            current.get_by_text(expected, exact=True).wait_for()
        else:
            assert current.count() == 1
    runs.keyboard.press("PageDown")
    assert runs.locator(".gridrow.cur .c1").inner_text() not in ("A-1025", "A-1024")
    runs.keyboard.press("Home")
    runs.keyboard.press("Enter")
    runs.wait_for_url("**/#/runs/A-1025**")


def test_a_run_is_answered_from_the_list(runs: Page, server: Serving) -> None:
    runs.get_by_text("asks: Ship").first.wait_for()
    runs.keyboard.press("j")
    runs.keyboard.press("a")
    dialog = runs.get_by_role("dialog", name="Answer A-1024")
    dialog.get_by_text("Ship 616.54 EUR on credit?", exact=True).wait_for()
    dialog.get_by_role("button", name="Resume").click()
    dialog.get_by_role("alert").get_by_text(
        "required", exact=False
    ).first.wait_for()  # nobody's yes is taken for granted
    dialog.get_by_role("button", name="Yes").click()
    dialog.get_by_label("Note").fill("with thanks")
    dialog.get_by_role("button", name="Resume").click()
    runs.get_by_text("A-1024 was resumed").wait_for()
    until(lambda: server.get("/v1/runs/A-1024").json()["status"] == "success")
    runs.locator(".rows-all [role=row]", has_text="A-1024").get_by_text("success").wait_for()  # by the feed


def test_an_event_is_sent_from_the_list(runs: Page, server: Serving) -> None:
    start(server, "payment", "pay-400", {"n": 400})
    runs.locator(".rows-all [role=row]", has_text="pay-400").get_by_role("button", name="Send event").click()
    dialog = runs.get_by_role("dialog", name="Send an event to pay-400")
    dialog.get_by_label("Payload as JSON").fill('{"paid": ')
    assert dialog.get_by_role("button", name="Send").is_disabled()
    dialog.get_by_label("Payload as JSON").fill('{"paid": 12.5}')
    dialog.get_by_role("button", name="Send").click()
    runs.get_by_text("pay-400 was sent the event").wait_for()
    until(lambda: server.get("/v1/runs/pay-400").json()["status"] == "success")
    assert server.get("/v1/runs/pay-400/result").json()["result"] == {"paid": 12.5}


def test_a_run_that_failed_is_retried_in_a_new_one(runs: Page, server: Serving) -> None:
    before = sum(counts(server).values())
    runs.locator(".rows-all [role=row]", has_text="ref-1").get_by_role("button", name="Retry").click()
    runs.get_by_role("dialog").get_by_role("button", name="Retry").click()
    runs.get_by_text("ref-1 goes on in a new run").wait_for()
    until(lambda: sum(counts(server).values()) == before + 1)


def test_a_run_is_canceled_by_a_key(runs: Page, server: Serving) -> None:
    start(server, "dunning", "dun-99", {"n": 99})
    runs.goto(f"{server.url}/#/runs?q=dun-99")
    runs.locator(".gridrow.cur", has_text="dun-99").wait_for()
    runs.keyboard.press("x")
    runs.get_by_role("dialog", name="Cancel dun-99").get_by_role("button", name="Cancel the run").click()
    until(lambda: server.get("/v1/runs/dun-99").json()["status"] == "canceled")


def test_failures_that_are_alike_are_one_row_with_one_button(runs: Page, server: Serving) -> None:
    runs.keyboard.press("f")
    line = runs.get_by_role("row").filter(has_text="ValueError")
    assert line.inner_text().split()[:4] == ["1", "ValueError", "import-rows", "stock-sync"]
    line.get_by_role("button", name="Retry all").click()
    dialog = runs.get_by_role("dialog")
    dialog.get_by_text("1 run, for which this can be done now.").wait_for()
    assert dialog.get_by_role("link", name="sync-2026-11-27").is_visible()
    dialog.get_by_role("button", name="Retry 1 run").click()
    runs.get_by_text("Retry: 1 run").wait_for()
    until(lambda: server.get("/v1/failures").json()["failures"] != [])


def test_many_runs_are_counted_before_anything_is_done(runs: Page, server: Serving) -> None:
    for number in range(8):
        start(server, "dunning", f"bulk-{number}", {"n": number}, tags={"of": "bulk"})
    runs.goto(f"{server.url}/#/runs?q=tag:of=bulk status:waiting")
    runs.locator(".foot").get_by_text("8 runs", exact=True).wait_for()
    runs.keyboard.press("b")
    dialog = runs.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_text("8 runs, for which this can be done now.").wait_for()
    assert counts(server).get("canceled", 0) <= 1  # nothing was done yet
    dialog.get_by_role("button", name="Cancel 8 runs").click()
    runs.get_by_text("Cancel: 8 runs").wait_for()
    until(lambda: counts(server).get("canceled", 0) >= 8)


def test_a_new_run_comes_on_top_by_itself(runs: Page, server: Serving) -> None:
    start(server, "stock-sync", "brand-new", {"file": "n.csv"})
    runs.locator(".rows-all [role=row]", has_text="brand-new").get_by_text("success").wait_for()


def test_a_reader_further_down_is_not_moved(page: Page, server: Serving) -> None:
    for number in range(40):
        start(server, "stock-sync", f"down-{number}", {"file": "n.csv"})
    page.goto(f"{server.url}/#/runs?q=workflow:stock-sync")
    page.get_by_role("row").nth(20).wait_for()
    page.keyboard.press("End")
    until(lambda: bool(page.evaluate("() => document.querySelector('.rows').scrollTop > 300")))
    before = page.evaluate("() => document.querySelector('.rows').scrollTop")
    start(server, "stock-sync", "while-down", {"file": "n.csv"})
    page.get_by_role("button", name="1 new run").wait_for()
    assert page.evaluate("() => document.querySelector('.rows').scrollTop") == before
    page.get_by_role("button", name="1 new run").click()
    page.keyboard.press("Home")
    page.get_by_role("link", name="while-down").wait_for()
