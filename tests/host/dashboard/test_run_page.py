"""The page of one run in a browser: why it does not move and what moves it, and the log that all of it follows from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.serving import PATIENCE_S, Serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SUPPORT = Path(__file__).resolve().parents[2] / "support"
TARGETS = [
    *(
        f"{SUPPORT}/dashboard_flows.py:{name}"
        for name in ("fulfil", "payment", "stock_sync", "hostile", "refusing", "dunning")
    ),
    *(f"{SUPPORT}/run_page_flows.py:{name}" for name in ("onboard", "kid", "restless")),
]
ORDER = {"order": "A-1015", "customer": "Chidi Okafor", "country": "PL", "lines": ["arm", "lamp", "hub", "headset"]}
PWN = "document.title='pwned'"
HOSTILE = f'<img src=x onerror="{PWN}">\u202egnp.exe\u0000\x1b[31m</script><script>{PWN}</script>'
TOLD = "one => [one.id, one.nodes.slice(0, 4).map(n => n.html.slice(0, 150) + n.any.map(a => a.message).join())]"
AXE = Path(__file__).resolve().parents[3] / "host" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(*TARGETS, store=str(tmp_path_factory.mktemp("page") / "runs.db")) as made:
        begin(made, "fulfil", "A-1015", ORDER, tags={"customer": "c-17"})
        begin(made, "onboard", "onboard-1", 3)
        begin(made, "stock-sync", "sync-27", {"file": "stock.csv", "bad": True})
        until(lambda: status(made, "A-1015") == "suspended" and status(made, "onboard-1") == "waiting")
        yield made


def begin(server: Serving, workflow: str, id: str, value: Any, **more: Any) -> None:
    answer = server.post(f"/v1/workflows/{workflow}/runs", {"input": value, "run_id": id, **more})
    assert answer.status_code == 201, answer.text


def status(server: Serving, id: str) -> str:
    found: str = server.get(f"/v1/runs/{id}").json()["status"]
    return found


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def opened(page: Page, server: Serving, id: str, query: str = "") -> Page:
    page.goto(f"{server.url}/#/runs/{id}{query}")
    page.locator("main.run .rec").first.wait_for()
    page.locator("h1:not([aria-busy])").wait_for()
    return page


def box(page: Page, place: str) -> Locator:
    return page.locator(f'g.node[data-place="{place}"]')


def at(page: Page) -> int:
    return int(page.locator(".track").get_attribute("aria-valuenow") or 0)


def sees(locator: Locator, text: str) -> None:
    locator.filter(has_text=text).first.wait_for()


def test_it_begins_with_why_it_does_not_move(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    heading = page.get_by_role("heading", level=1).inner_text()
    assert heading.startswith("Waits for a person: approve asked")
    assert "on credit?" in heading
    sees(page.locator(".facts"), "c-17")
    assert page.locator(".act").get_by_role("button", name="Resume").is_enabled()


def test_the_graph_shows_how_each_step_stands(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    assert {
        place: box(page, place).get_attribute("aria-label") for place in ("parse", "reserve", "approve", "auto-approve")
    } == {
        "parse": "parse, success",
        "reserve": "reserve, success, 4 times",
        "approve": "approve, suspended",
        "auto-approve": "auto-approve, skipped",
    }
    assert page.locator(".graph rect.s.success").count() == 4


def test_one_selection_is_everywhere(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    box(page, "quote-shipping").click()
    sees(page.locator(".insp h3"), "quote-shipping")
    sees(page.locator(".insp .att"), "carrier api.parcel.example")
    assert page.locator(".tl .r.sel").get_attribute("data-row") == "quote-shipping"
    assert box(page, "quote-shipping").get_attribute("aria-pressed") == "true"
    sees(page.locator(".ln.sel"), '"quote-shipping"')
    page.get_by_role("button", name="selection", exact=True).click()
    assert set(page.locator(".rec .pa").all_inner_texts()) == {"quote-shipping"}
    page.wait_for_url("**step=quote-shipping**")


def test_going_back_in_time_is_moving_the_record(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    page.keyboard.press("Home")
    assert at(page) == 1
    sees(page.locator(".act"), "You look at the past")
    assert box(page, "parse").get_attribute("aria-label") == "parse, idle"
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    sees(page.get_by_role("heading", level=1), "At record 5 it was between steps.")
    assert box(page, "parse").get_attribute("aria-label") == "parse, success"
    assert page.locator(".rec.future").count() > 0
    page.wait_for_url("**seq=5**")
    page.reload()
    sees(page.get_by_role("heading", level=1), "At record 5")
    page.keyboard.press("l")
    sees(page.get_by_role("heading", level=1), "Waits for a person")
    page.wait_for_url(lambda url: "seq=" not in url)


def test_every_key_does_what_the_list_says(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    page.keyboard.press("j")
    first = page.locator(".insp h3 bdi").inner_text()
    page.keyboard.press("j")
    assert page.locator(".insp h3 bdi").inner_text() != first
    page.keyboard.press("k")
    assert page.locator(".insp h3 bdi").inner_text() == first == "parse"
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    assert at(page) == 3
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    assert at(page) == 3
    page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    assert at(page) == 3
    page.keyboard.press("End")
    assert page.locator(".live").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator(".node.sel").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("carrier")
    sees(page.locator(".rec"), "attempt failed")
    assert page.locator(".rec").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    assert page.evaluate("document.activeElement.closest('.act') !== null")
    page.keyboard.press("?")
    sees(page.get_by_role("dialog"), "one record back")


def test_the_scrubber_is_dragged(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    track = page.locator(".track").bounding_box()
    assert track is not None
    page.mouse.move(track["x"] + track["width"] - 6, track["y"] + 10)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] / 2, track["y"] + 10)
    page.mouse.up()
    assert 15 <= at(page) <= 24
    page.locator(".scrub").get_by_role("button", name="One record back").click()
    page.locator(".scrub").get_by_role("button", name="First record").click()
    assert at(page) == 1
    page.locator(".scrub").get_by_role("button", name="Last record").click()
    assert at(page) == 38


def test_the_answer_is_judged_by_the_server_and_moves_the_run(page: Page, server: Serving) -> None:
    begin(server, "fulfil", "A-2000", ORDER)
    until(lambda: status(server, "A-2000") == "suspended")
    opened(page, server, "A-2000")
    page.locator(".act").get_by_role("button", name="Yes", exact=True).click()
    page.locator(".act").get_by_label("Note").fill("by hand")
    page.locator(".act").get_by_role("button", name="Resume").click()
    sees(page.get_by_role("heading", level=1), "Succeeded in")
    assert box(page, "book-total").get_attribute("aria-label") == "book-total, success"
    sees(page.locator(".rec"), "run completed")


def test_a_request_can_be_copied(page: Page, server: Serving) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, server, "A-1015")
    page.locator(".act .seg button", has_text="Yes").click()
    found = []
    for name in ("curl", "Python", "CLI"):
        page.locator(".act").get_by_role("button", name=name, exact=True).click()
        found.append(page.evaluate("navigator.clipboard.readText()"))
    curl, python, command = found
    assert curl.startswith(f"curl -X POST '{server.url}/v1/runs/A-1015/resume'")
    assert '"approved":true' in curl
    assert python.startswith("await client.request_resume('A-1015', resume_data={")
    assert '"approved": True' in python
    assert command.startswith("cloche resume A-1015 --data '{")


def test_an_event_is_sent_to_native_code_and_its_calls_are_its_graph(page: Page, server: Serving) -> None:
    opened(page, server, "onboard-1")
    sees(page.get_by_role("heading", level=1), "Waits for the event paid")
    labels = [
        text.split(",")[0] for text in page.locator("g.node").evaluate_all("all => all.map(one => one.ariaLabel)")
    ]
    assert labels == ["square", "send-mail", "square", "send-mail", "refund", "square", "nap", "kid", "paid"]
    sees(page.locator(".graph text"), "loop ×4")
    page.get_by_role("button", name="as written").click()
    sees(page.locator(".graph text"), "for i in range(4)")
    page.get_by_role("button", name="as it happened").click()
    assert page.locator(".ln.cur").inner_text().endswith('paid = await cloche.wait_for_event("paid")')
    page.locator(".act textarea").fill('{"amount": 3}')
    page.locator(".act").get_by_role("button", name="Send").click()
    sees(page.get_by_role("heading", level=1), "Succeeded in")
    page.locator(".graph a").first.click()
    sees(page.locator(".kin"), "child of")


def test_a_failure_says_where_and_is_retried(page: Page, server: Serving) -> None:
    opened(page, server, "sync-27", "?step=import-rows")
    sees(page.get_by_role("heading", level=1), "Failed at import-rows: ValueError row 1,204 of stock.csv")
    sees(page.locator(".insp .trace"), "dashboard_flows.py")
    assert page.locator(".ln.cur").first.inner_text().split()[-1].endswith('step("import-rows")(r_fetch);')
    page.locator(".act").get_by_role("button", name="Retry").click()
    sees(page.locator(".kin"), "retry of sync-27")


def test_a_run_is_taken_up_again_from_a_step(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015", "?step=add-up")
    page.locator(".insp h3").filter(has_text="add-up").wait_for()
    page.get_by_role("button", name="Run again from here").click()
    sees(page.locator(".kin"), "forked from A-1015")


def test_a_run_is_ended_after_a_question(page: Page, server: Serving) -> None:
    begin(server, "payment", "pay-1", {"n": 1})
    until(lambda: status(server, "pay-1") == "waiting")
    opened(page, server, "pay-1")
    page.locator(".act").get_by_role("button", name="End the run").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
    sees(page.get_by_role("heading", level=1), "Was canceled")


def test_the_builders_calls_stand_beside_what_runs(page: Page, server: Serving) -> None:
    page.set_viewport_size({"width": 1600, "height": 900})
    opened(page, server, "A-1015")
    builder, glass = (page.get_by_role("region", name=name, exact=True) for name in ("Builder", "Under glass"))
    sees(builder.locator(".ln"), ".foreach(reserve, concurrency=2")
    sees(builder.locator(".ln.cur"), "approve")
    sees(glass.locator(".ln.cur"), "approve")
    left, right = glass.bounding_box(), builder.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    assert left["y"] == right["y"]
    box(page, "quote-shipping").click()
    for one in (builder, glass):
        sees(one.locator(".ln.sel"), "quote")


def test_where_there_is_no_room_both_sources_have_a_tab(page: Page, server: Serving) -> None:
    page.set_viewport_size({"width": 1300, "height": 900})
    opened(page, server, "A-1015")
    page.get_by_role("tab", name="Builder").click()
    sees(page.locator(".ln"), ".foreach(reserve, concurrency=2")
    sees(page.locator(".ln.cur"), "approve")
    page.get_by_role("tab", name="Under glass").click()
    sees(page.locator(".ln.cur"), '["approve", ')


def test_records_are_filtered(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015")
    for name, kinds in {
        "errors": {"attempt failed"},
        "→ events": {"run started", "step completed", "step suspended"},
    }.items():
        page.get_by_role("button", name=name, exact=True).click()
        page.locator(".pane header [role=status]").filter(has_text="1").first.wait_for()
        assert {text.strip("→←· ") for text in page.locator(".rec .kd").all_inner_texts()} <= kinds


def test_no_text_becomes_markup(page: Page, server: Serving) -> None:
    begin(
        server, "<img src=x onerror=alert(1)>".replace("/", "%2F"), "hostile-1", {"a": HOSTILE, "long": "y" * 1_000_000}
    )
    begin(server, "refusing", "refusing-1", HOSTILE, tags={"note": "<b>x</b>"})
    until(lambda: status(server, "hostile-1") == "success" and status(server, "refusing-1") == "failed")
    opened(page, server, "refusing-1", "?step=refuse")
    sees(page.get_by_role("heading", level=1), "Failed at refuse: RuntimeError")
    sees(page.locator(".insp .error"), "RuntimeError")
    opened(page, server, "hostile-1", "?step=echo")
    sees(page.locator(".insp .cut").first, "in all")
    assert page.locator("main.run img, main.run script").count() == 0
    assert "pwned" not in page.title()


def test_it_is_live_over_the_death_of_the_server(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kill -9` of the server, which is the worker too: the page goes on by itself, and nothing is missing or doubled."""
    gate = tmp_path / "gate"
    monkeypatch.setenv("DASHBOARD_GATE", str(gate))
    store = str(tmp_path / "runs.db")
    with Serving(*TARGETS, store=store) as first:
        begin(first, "restless", "r1", 0)
        opened(page, first, "r1")
        until(lambda: at(page) > 30)
        port = first.port
        first.kill()
        sees(page.locator(".lost"), "The server is not reached")
    seen = at(page)
    with Serving(*TARGETS, store=store, port=port) as second:
        until(lambda: at(page) > seen + 30)
        gate.touch()
        sees(page.get_by_role("heading", level=1), "Succeeded in")
        total = second.get("/v1/runs/r1").json()["records"]
        until(lambda: at(page) == total)
        assert page.locator(".lost").count() == 0


def test_axe_finds_nothing(page: Page, server: Serving) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make dashboard")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for query in ("?step=approve", "?seq=13&step=quote-shipping"):
            opened(page, server, "A-1015", query)
            page.locator(".insp pre:not([aria-busy])").first.wait_for()
            client = page.context.new_cdp_session(page)
            client.send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
            asked = f"axe.run('main.run').then(found => JSON.stringify(found.violations.map({TOLD})))"
            found = client.send("Runtime.evaluate", {"expression": asked, "awaitPromise": True})
            assert found["result"].get("value") == "[]", (scheme, query, found["result"])


@pytest.mark.parametrize("width", [390, 820, 1440, 3840])
def test_nothing_scrolls_sideways(page: Page, server: Serving, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, server, "A-1015")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("main.run").evaluate("one => one.scrollWidth - one.clientWidth") <= 0
    page.locator(".track").scroll_into_view_if_needed()
    assert page.locator(".act").get_by_role("button", name="Resume").count() == 1


def test_the_record_that_is_looked_at_is_in_sight_when_the_page_opens(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015", "?seq=20")
    page.locator(".rec.cur[data-seq='20']").wait_for()
    page.locator(".tl .r", has_text="approve").first.wait_for()  # the timeline has taken its room
    inside = """() => {
      const [row, pane] = [".rec.cur", ".log"].map(one => document.querySelector(one).getBoundingClientRect());
      return pane.top <= row.top && row.bottom <= pane.bottom;
    }"""
    until(lambda: page.evaluate(inside))


def test_a_run_that_failed_opens_at_the_step_that_failed(page: Page, server: Serving) -> None:
    opened(page, server, "sync-27")
    inspector = page.get_by_role("region", name="Inspector")
    sees(inspector.get_by_role("heading", level=3), "import-rows")
    sees(inspector.get_by_label("Traceback"), "ValueError")
    assert inspector.get_by_role("button", name="Run again from here").is_enabled()


def test_the_source_follows_what_the_reader_has_moved_last(page: Page, server: Serving) -> None:
    opened(page, server, "A-1015", "?seq=3&step=approve")
    now = page.locator(".ln.cur", has_text="parse")  # a line out of sight is not in the page
    now.first.wait_for()
    box(page, "price-goods").click()
    box(page, "approve").click()
    until(lambda: now.count() == 0)
    page.keyboard.press("ArrowRight")
    now.first.wait_for()
