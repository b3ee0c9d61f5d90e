"""Workflows, schedules, workers, usage, and a run that is started by a form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.dashboard import FLOWS, order, start, until
from support.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("fulfil", "stock_sync", "payment", "greet")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    store = str(tmp_path_factory.mktemp("pages") / "runs.db")
    with Serving(*(f"{FLOWS}:{name}" for name in NAMES), store=store) as made:
        start(made, "fulfil", "A-1015", order(1015))
        start(made, "stock-sync", "sync-1", {"file": "a.csv"})
        until(lambda: made.get("/v1/runs/A-1015").json()["status"] == "suspended")
        nightly = {"workflow": "stock-sync", "cron": "0 3 * * *", "tz": "Europe/Warsaw", "input": {"file": "night.csv"}}
        assert made._client.put("/v1/schedules/nightly", json=nightly).status_code == 200
        yearly = {"workflow": "payment", "cron": "0 0 1 1 *", "input": {}}
        assert made._client.put("/v1/schedules/yearly", json=yearly).status_code == 200
        yield made


def opened(page: Page, server: Serving, place: str) -> Page:
    page.goto(f"{server.url}/#/{place}")
    page.get_by_role("heading", level=1).wait_for()
    return page


def test_workflows_say_what_they_take_and_how_their_runs_stand(page: Page, server: Serving) -> None:
    opened(page, server, "workflows")
    page.get_by_role("heading", name="4 workflows can be started.").wait_for()
    line = page.get_by_role("row").filter(has=page.get_by_role("link", name="fulfil", exact=True))
    assert "order, customer, country, lines, unit_price, is_gift" in line.inner_text()
    line.get_by_role("img", name="1 suspended").wait_for()


def test_keys_walk_through_workflows(page: Page, server: Serving) -> None:
    opened(page, server, "workflows")
    page.get_by_role("heading", name="4 workflows").wait_for()
    page.keyboard.press("j")
    page.locator("tr.cur", has_text="greet").wait_for()
    page.keyboard.press("k")
    page.locator("tr.cur", has_text="fulfil").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/workflows/fulfil")
    page.keyboard.press("Escape")
    page.wait_for_url("**/#/workflows")
    page.locator("tr.cur", has_text="fulfil").wait_for()
    page.keyboard.press("r")
    page.wait_for_url("**q=workflow%3Afulfil")


def test_a_workflow_shows_its_graph_and_the_source_that_is_executed(page: Page, server: Serving) -> None:
    opened(page, server, "workflows/fulfil")
    graph = page.get_by_role("region", name="Graph")
    graph.get_by_role("button", name="price-goods, idle").wait_for()
    assert graph.locator("title", has_text='inputData.0.shelf ≠ ""').count() == 1
    source = page.get_by_role("region", name="Source")
    source.get_by_text("export default async function fulfil").wait_for()
    assert source.get_by_role("tab").all_inner_texts() == ["Under glass", "Builder"]


def test_a_box_of_a_workflows_graph_shows_its_lines(page: Page, server: Serving) -> None:
    opened(page, server, "workflows/stock-sync")
    page.get_by_role("region", name="Graph").get_by_role("button", name="fetch").click()
    page.locator(".ln.sel", has_text="fetch").first.wait_for()
    page.get_by_role("tab", name="The same in Python").click()
    page.locator(".ln.sel", has_text="fetch").first.wait_for()


def test_a_workflow_that_is_written_as_a_program_shows_its_source(page: Page, server: Serving) -> None:
    start(server, "greet", "greet-1", "Ada")
    until(lambda: server.get("/v1/runs/greet-1").json()["status"] == "success")
    opened(page, server, "workflows/greet")
    page.get_by_role("region", name="Source").get_by_text("Hello").first.wait_for()


def test_a_schedule_shows_its_next_instants_and_is_paused_and_fired(page: Page, server: Serving) -> None:
    opened(page, server, "schedules")
    page.get_by_role("heading", name="2 schedules; the next run begins").wait_for()
    page.get_by_role("region", name="Next instants").get_by_role("listitem").nth(7).wait_for()
    page.get_by_text("an instant is skipped while the run before it is open").wait_for()
    page.get_by_role("button", name="Pause nightly").click()
    page.get_by_role("button", name="Go on nightly").wait_for()
    assert server.get("/v1/schedules/nightly").json()["is_paused"]
    page.get_by_text("It is paused: no run begins.").wait_for()
    page.keyboard.press("p")
    page.get_by_role("button", name="Pause nightly").wait_for()
    page.get_by_role("button", name="Fire now nightly").click()
    page.get_by_text("nightly began").wait_for()
    past = page.get_by_role("region", name="Past instants")
    until(lambda: server.get("/v1/runs?workflow=stock-sync").json()["runs"][0]["id"].startswith("nightly"))
    assert past.get_by_role("columnheader").all_inner_texts() == ["Instant", "Outcome", "Run, or why not"]


def test_what_was_skipped_says_why(page: Page, server: Serving) -> None:
    often = {
        "workflow": "payment",
        "every": 1,
        "input": {},
    }  # its run waits for an event: the next instant finds it open
    assert server._client.put("/v1/schedules/often", json=often).status_code == 200
    until(lambda: any(one["outcome"] == "skipped" for one in firings(server)))
    opened(page, server, "schedules/often")
    past = page.get_by_role("region", name="Past instants")
    past.get_by_text("skipped").first.wait_for()
    past.get_by_text("fired").first.wait_for()
    past.get_by_text("the run before has not ended: often › t").first.wait_for()
    assert server._client.delete("/v1/schedules/often").status_code == 204


def firings(server: Serving) -> list[dict[str, str]]:
    found: list[dict[str, str]] = server.get("/v1/schedules/often/firings").json()["firings"]
    return found


def test_workers_say_what_they_drive(page: Page, server: Serving) -> None:
    opened(page, server, "workers")
    page.get_by_role("heading", name="1 worker is at work.").wait_for()
    line = page.locator("tr.cur")
    assert "alive" in line.inner_text()
    line.get_by_role("link", name="stock-sync").wait_for()


def test_usage_is_told_by_tenant_and_sorted_by_a_key(page: Page, server: Serving) -> None:
    opened(page, server, "usage")
    page.get_by_role("row").filter(has_text="default").get_by_text("shown").wait_for()
    assert page.get_by_role("columnheader", name="Runs ↓").get_attribute("aria-sort") == "descending"
    page.keyboard.press("s")
    page.get_by_role("columnheader", name="Steps ↓").wait_for()
    page.get_by_role("button", name="Fuel").click()
    page.get_by_role("columnheader", name="Fuel ↓").wait_for()


def test_a_run_is_started_by_a_form_that_the_schema_makes(page: Page, server: Serving) -> None:
    opened(page, server, "runs")
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="Start a run")
    dialog.get_by_label("Workflow").select_option("fulfil")
    dialog.get_by_role("button", name="Start", exact=True).click()
    dialog.get_by_role("alert").first.wait_for()  # the server says what is missing, beside its field
    dialog.get_by_label("Order").fill("A-2000")
    dialog.get_by_label("Customer").fill("Ada")
    dialog.get_by_label("Country").select_option("NO")
    dialog.get_by_role("button", name="Add to lines").click()
    dialog.get_by_label("Lines 1", exact=True).fill("desk lamp")
    dialog.get_by_label("Unit price").fill("12.5")
    dialog.get_by_role("group", name="Is gift").get_by_role("button", name="Yes").click()
    dialog.get_by_text("Id and tags").click()
    dialog.get_by_label("Run id").fill("A-2000")
    dialog.get_by_label("Tags").fill("customer=acme of=form")
    dialog.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/#/runs/A-2000**")
    until(lambda: server.get("/v1/runs/A-2000").status_code == 200)
    assert server.get("/v1/runs/A-2000/result").json()["input"] == {
        "order": "A-2000",
        "customer": "Ada",
        "country": "NO",
        "lines": ["desk lamp"],
        "unit_price": 12.5,
        "is_gift": True,
    }
    assert [one["id"] for one in server.get("/v1/runs?tag=of=form").json()["runs"]] == ["A-2000"]


def test_the_same_input_is_there_as_json(page: Page, server: Serving) -> None:
    opened(page, server, "runs?start=fulfil")
    dialog = page.get_by_role("dialog", name="Start a run")
    dialog.get_by_label("Customer").fill("Ada")
    dialog.get_by_role("button", name="JSON").click()
    field = dialog.get_by_label("Input as JSON")
    assert '"customer": "Ada"' in field.input_value()
    field.fill('{"order": 1, "customer": "Bo", "lines": [')
    assert dialog.get_by_role("button", name="Start", exact=True).is_disabled()
    assert dialog.get_by_role("button", name="Form").is_disabled()
    field.fill('{"order": "x", "customer": "Bo", "lines": []}')
    dialog.get_by_role("button", name="Form").click()
    assert dialog.get_by_label("Customer").input_value() == "Bo"


def test_a_start_is_copied_as_a_request(page: Page, server: Serving) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, server, "runs?start=stock-sync")
    dialog = page.get_by_role("dialog", name="Start a run")
    dialog.get_by_label("Input as JSON").fill('{"file": "it\'s.csv", "bad": false}')
    dialog.get_by_role("button", name="curl").click()
    page.get_by_text("the request copied").wait_for()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith(f"curl -X POST '{server.url}/v1/workflows/stock-sync/runs'")
    assert "it'\\''s.csv" in copied
    dialog.get_by_role("button", name="Python").click()
    page.get_by_text("the call copied").wait_for()
    assert (
        page.evaluate("() => navigator.clipboard.readText()")
        == 'run = await client.start("stock-sync", {"file": "it\'s.csv", "bad": False})'
    )
