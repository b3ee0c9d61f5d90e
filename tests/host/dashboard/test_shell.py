"""The frame round every page: signing in, tenants, keys, themes, and a server that goes away."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.commands import ended, process
from support.dashboard import FLOWS, order, start, until
from support.serving import Serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

FULFIL, STOCK = f"{FLOWS}:fulfil", f"{FLOWS}:stock_sync"
PAGES = ("Runs", "Workflows", "Schedules", "Workers", "Usage")


def token(store: str, *options: str) -> str:
    made = ended(process("token", "create", "--store", store, *options))
    assert made.code == 0, made.err
    return made.out.strip()


class Guarded:
    """A server with tokens, and runs of two tenants."""

    def __init__(self, folder: Path) -> None:
        self.store = str(folder / "runs.db")
        self.all = token(self.store, "--all-tenants", "--role", "admin")
        self.acme = token(self.store, "--tenant", "acme", "--role", "viewer")
        self.server = Serving(FULFIL, STOCK, store=self.store, token=self.all)
        for tenant in ("acme", "globex"):
            headers = {"Cloche-Tenant": tenant}
            start(self.server, "stock-sync", f"of-{tenant}", {"file": f"{tenant}.csv"}, headers=headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    with made.server:
        yield made


def sign_in(page: Page, url: str, text: str) -> None:
    page.goto(url)
    page.get_by_label("Token").fill(text)
    page.get_by_role("button", name="Sign in").click()


def test_a_token_is_changed_for_a_cookie_that_no_script_reads(page: Page, guarded: Guarded) -> None:
    sign_in(page, guarded.server.url, guarded.acme)
    page.get_by_role("link", name="of-acme").wait_for()
    [cookie] = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("__Host-cloche", True, "Strict")
    kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert guarded.acme not in kept
    page.reload()
    page.get_by_role("link", name="of-acme").wait_for()


def test_a_token_that_nobody_knows_is_refused_in_words(page: Page, guarded: Guarded) -> None:
    sign_in(page, guarded.server.url, "clk_nobody_nothing")
    assert "This token lets nobody in" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("button", name="Sign in").is_visible()


def test_signing_out_ends_the_session(page: Page, guarded: Guarded) -> None:
    sign_in(page, guarded.server.url, guarded.acme)
    page.get_by_role("link", name="of-acme").wait_for()
    page.keyboard.press("i")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    page.reload()
    page.get_by_label("Token").wait_for()


def test_an_address_survives_signing_in(page: Page, guarded: Guarded) -> None:
    sign_in(page, f"{guarded.server.url}/#/runs?q=workflow:stock-sync", guarded.acme)
    page.get_by_role("link", name="of-acme").wait_for()
    assert page.get_by_label("Find runs").input_value() == "workflow:stock-sync"


def test_a_tenant_sees_its_own_runs_and_no_others(page: Page, guarded: Guarded) -> None:
    sign_in(page, guarded.server.url, guarded.acme)
    page.get_by_role("link", name="of-acme").wait_for()
    assert page.get_by_text("of-globex").count() == 0
    page.goto(f"{guarded.server.url}/#/usage")
    page.get_by_role("heading", level=1).get_by_text("1 tenant").wait_for()
    assert page.get_by_text("globex").count() == 0
    page.keyboard.press("i")
    page.get_by_role("dialog").get_by_text("acme").first.wait_for()
    assert page.get_by_text("globex").count() == 0


def test_a_viewer_has_no_buttons_that_move_runs(page: Page, guarded: Guarded) -> None:
    headers = {"Cloche-Tenant": "acme"}
    start(guarded.server, "fulfil", "asks", order(1015), headers=headers)
    sign_in(page, guarded.server.url, guarded.acme)
    page.get_by_text("asks: Ship").wait_for()
    assert page.get_by_role("button", name=re.compile("Answer|Start a run|All…")).count() == 0
    for key in "anxb":
        page.keyboard.press(key)
    assert page.get_by_role("button", name=re.compile("Resume|Cancel the run|^Start$")).count() == 0


def test_an_operator_of_all_tenants_switches_between_them(page: Page, guarded: Guarded) -> None:
    sign_in(page, guarded.server.url, guarded.all)
    page.get_by_role("heading", name="No run waits for a person, none failed.").wait_for()
    page.keyboard.press("i")
    page.get_by_role("button", name="globex").click()
    page.get_by_role("link", name="of-globex").wait_for()
    assert page.get_by_text("of-acme").count() == 0
    page.reload()  # the tab keeps it
    page.get_by_role("link", name="of-globex").wait_for()
    start(guarded.server, "stock-sync", "fresh-globex", {"file": "x"}, headers={"Cloche-Tenant": "globex"})
    page.get_by_role("link", name="fresh-globex").wait_for()  # the feed is of that tenant too
    page.keyboard.press("i")
    page.get_by_role("button", name="acme").click()
    page.get_by_role("link", name="of-acme").wait_for()
    assert page.get_by_text("of-globex").count() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(STOCK, store=str(tmp_path_factory.mktemp("shell") / "runs.db")) as made:
        start(made, "stock-sync", "one", {"file": "one.csv"})
        yield made


def test_every_page_has_a_key(page: Page, server: Serving) -> None:
    page.goto(server.url)
    for number, title in enumerate(PAGES, 1):
        page.keyboard.press(str(number))
        page.locator("nav [aria-current=page]", has_text=title).wait_for()
        page.get_by_role("heading", level=1).wait_for()
        until(lambda title=title: page.title() == f"{title} · cloche")  # type: ignore[misc]


def test_the_keys_of_a_page_are_listed(page: Page, server: Serving) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="one", exact=True).wait_for()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    for label in ("next run", "cancel the run", "light or dark", "jump to a run, a page or a command"):
        assert dialog.get_by_text(label, exact=True).count() == 1
    page.keyboard.press("n")  # a dialog has the keyboard to itself
    assert page.get_by_role("dialog").count() == 1
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_it_jumps_to_a_run_by_its_id(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/usage")
    page.get_by_role("heading", level=1).wait_for()
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("one")
    page.get_by_role("option", name="one run of stock-sync").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/runs/one**")


OPENS = """async key => {
  window.requestAnimationFrame = () => 0; // a machine that is busy draws nothing meanwhile
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {...key, bubbles: true, cancelable: true}));
  await new Promise(done => { // the turn after it, in which the next key comes
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  return document.activeElement.closest("dialog")?.getAttribute("aria-label");
}"""


@pytest.mark.parametrize(
    ("key", "dialog"),
    [
        ({"key": "k", "ctrlKey": True}, "Jump to"),
        ({"key": "."}, "Jump to"),
        ({"key": "?"}, "Keys"),
        ({"key": "i"}, "Who asks"),
    ],
)
def test_a_dialog_has_the_keyboard_from_the_next_key_on(
    page: Page, server: Serving, key: dict[str, object], dialog: str
) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="one", exact=True).wait_for()
    assert page.evaluate(OPENS, key) == dialog


def test_what_is_typed_at_once_after_a_key_is_never_taken_for_a_command(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/usage")
    page.get_by_role("heading", level=1).wait_for()
    for opens in ("Control+k", "."):
        page.keyboard.press(opens)
        page.keyboard.type("t1n2xq")  # each is a key of some page
        assert page.get_by_role("dialog").get_by_role("combobox").input_value() == "t1n2xq"
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    assert page.url.endswith("/#/usage")
    assert page.locator("html[data-theme]").count() == 0
    page.keyboard.press("Control+k")
    page.keyboard.type("one")
    page.keyboard.press("Enter")  # before anything was found
    page.wait_for_url("**/#/runs/one**")


def test_it_jumps_to_a_page_and_does_commands(page: Page, server: Serving) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Jump to…").click()
    page.keyboard.type("sched")
    page.get_by_role("option", name="Schedules").click()
    page.wait_for_url("**/#/schedules")
    page.keyboard.press(".")
    page.get_by_role("dialog").get_by_role("combobox").fill("light or")
    page.get_by_role("option", name="light or dark").wait_for()
    page.keyboard.press("Enter")
    page.locator("html[data-theme=dark]").wait_for()


def test_a_theme_is_kept(page: Page, server: Serving) -> None:
    page.goto(server.url)
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark


def test_the_focus_goes_back_to_where_a_dialog_was_opened(page: Page, server: Serving) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Filters").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    until(lambda: page.evaluate("() => document.activeElement.textContent") == "Filters")


def test_what_is_not_there_is_said(page: Page, server: Serving) -> None:
    page.goto(f"{server.url}/#/nowhere")
    page.get_by_role("heading", name="There is no such page.").wait_for()


def test_the_page_goes_on_by_itself_after_the_server_was_killed(page: Page, tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    with Serving(STOCK, store=store) as first:
        start(first, "stock-sync", "before", {"file": "b.csv"})
        page.goto(first.url)
        page.locator(".rows-all [role=row]", has_text="before").get_by_text("success").wait_for()
        first.process.send_signal(signal.SIGKILL)
        page.get_by_text("The server is not reached: what you see is as it was.").wait_for()
        assert page.get_by_role("link", name="before").is_visible()
    with Serving(STOCK, store=store, port=first.port) as second:
        start(second, "stock-sync", "after", {"file": "a.csv"})  # often before the page is connected again
        page.locator(".rows-all [role=row]", has_text="after").get_by_text("success").wait_for()
        page.get_by_text("The server is not reached").wait_for(state="detached")
        page.locator(".foot").get_by_text("2 runs", exact=True).wait_for()


def test_a_page_that_opens_before_its_server_waits_for_it(page: Page, tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    with Serving(STOCK, store=store) as first:
        page.route("**/v1/**", lambda route: route.abort())
        page.goto(first.url)
        page.get_by_text("The server cannot be reached. It is asked again each second.").wait_for()
        page.unroute("**/v1/**")
        page.get_by_role("heading", name="No run waits for a person, none failed.").wait_for()
