"""The page of a long run in Chromium: its first paint, a redraw while its log is scrubbed, and its memory."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine_servers import NotInstalled
from benchmarks.figures import Figure, Scale

FLOW = """
from cloche import create_workflow, step

@step(id="item")
async def item(x: int) -> int:
    return x + 1

workflow = create_workflow(id="long").foreach(item, concurrency=400).commit()
"""
LOOKS = 7  # a browser's first page takes longest, and one page as long again as the next
REDRAWS = 40
# Positions all over the log, one a frame: what the main thread did for each is counted by the browser.
SCRUB = """async (times) => {
  const track = document.querySelector('.track'), box = track.getBoundingClientRect();
  track.setPointerCapture = () => {}; track.hasPointerCapture = () => true;
  for (let turn = 0; turn < times; turn++) {
    const clientX = box.left + 4 + ((turn * 37) % 100) / 100 * (box.width - 8);
    track.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY: box.top + 5, pointerId: 1, bubbles: true }));
    await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done, 50));
  }
}"""

PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  for (const one of list.getEntriesByName('first-contentful-paint')) done(one.startTime);
}).observe({ type: 'paint', buffered: true }))"""


# When the first row of what the page is about stood in it.
ROWS = """new MutationObserver((_, self) => {
  if (!document.querySelector('.rec, .rows-all [role=row]')) return;
  window.firstData = performance.now();
  self.disconnect();
}).observe(document, {childList: true, subtree: true})"""
# How long the browser took from frame to frame, for some seconds: what a reader feels.
FRAMES = """async (seconds) => {
  const gaps = [], end = performance.now() + seconds * 1000;
  for (let before = performance.now(); before < end; ) {
    const at = await new Promise(requestAnimationFrame);
    gaps.push(at - before);
    before = at;
  }
  return gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.95)];
}"""
LIVE_S = 5
LIVE_ITEMS = 30_000  # more than are done while it is looked at


def dashboard(scale: Scale) -> Iterator[Figure]:
    """The page beside one of the same server whose run has three records."""
    sync_api, program = _browser()
    for records in scale.sizes(1_000, 100_000):
        with _served(records // 3) as url, sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
            )
            small, long = _looked_at(browser, url, "small"), _looked_at(browser, url, "long")
            live, rest, per_s = _while_it_moves(browser, url)
            browser.close()
        name = f"page of a run of {records:,} records"
        for what, unit, goal in (
            ("first paint", "ms", 1000), ("first data", "ms", 300), ("redraw", "ms", 16), ("heap", "MB", 150),
        ):  # fmt: skip
            yield Figure(f"{name}: {what}", long[what], unit, "a run of 3 records", small[what], goal)
        moves = f"page of a run that moves {per_s:,.0f} records/s: 19 of 20 frames"
        yield Figure(moves, live, "ms", "a page at rest", rest, 100)


def _browser() -> tuple[Any, str]:
    program = shutil.which("chromium")
    try:
        from playwright import sync_api
    except ImportError as error:
        raise NotInstalled("Playwright is not installed: pip install playwright") from error
    if program is None:
        raise NotInstalled("there is no Chromium on this machine: apt-get install chromium")
    return sync_api, program


def _opened(browser: Any, url: str, run: str) -> tuple[Any, float, float]:
    """The page, and when it was painted first and had its data."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(ROWS)
    page.goto(f"{url}/#/runs/{run}")
    total = _ask(f"{url}/v1/runs/{run}")["records"]
    page.locator(f'.track[aria-valuemax="{total}"]').wait_for(timeout=300_000)  # all is read: the server rests again
    return page, page.evaluate(PAINT), page.evaluate("window.firstData")


def _looked_at(browser: Any, url: str, run: str) -> dict[str, float]:
    looks = []
    for _ in range(LOOKS):
        page, *look = _opened(browser, url, run)
        page.close()
        looks.append(look)
    paint, data = (statistics.median(times) for times in zip(*looks, strict=True))
    page, *_ = _opened(browser, url, run)
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})  # of its own thread, whatever runs beside it
    worked = []
    for _ in range(3):
        before = _worked(client)
        page.evaluate(SCRUB, REDRAWS)
        worked.append((_worked(client) - before) / REDRAWS * 1000)
    client.send("HeapProfiler.collectGarbage")
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    page.close()
    return {"first paint": paint, "first data": data, "redraw": statistics.median(worked), "heap": heap}


def _while_it_moves(browser: Any, url: str) -> tuple[float, float, float]:
    """The frames of a page while its run executes and of one at rest, and how many records that run wrote a second."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    _ask(f"{url}/v1/workflows/long/runs", {"input": list(range(LIVE_ITEMS)), "run_id": "live"})
    page.goto(f"{url}/#/runs/live")
    page.locator("main.run .rec").first.wait_for(timeout=120_000)
    before = _ask(f"{url}/v1/runs/live")["records"]
    frames = page.evaluate(FRAMES, LIVE_S)
    written = _ask(f"{url}/v1/runs/live")["records"] - before
    page.goto(f"{url}/#/runs/small")
    page.locator("main.run .rec").first.wait_for(timeout=120_000)
    rest = page.evaluate(FRAMES, 1)
    page.close()
    return frames, rest, written / LIVE_S


def _worked(client: Any) -> float:
    """For how many seconds scripts ran, and styles and layouts were made."""
    found = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return float(found["ScriptDuration"] + found["LayoutDuration"] + found["RecalcStyleDuration"])


@contextmanager
def _served(items: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        flow = Path(folder) / "flow.py"
        flow.write_text(FLOW)
        line = [sys.executable, "-m", "cloche.cli", "serve", f"{flow}:workflow", "--store", f"{folder}/runs.db"]
        with subprocess.Popen([*line, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                url: str = json.loads(server.stdout.readline())["url"]
                for run, count in (("small", 1), ("long", items)):
                    _ask(f"{url}/v1/workflows/long/runs", {"input": list(range(count)), "run_id": run})
                    while _ask(f"{url}/v1/runs/{run}")["status"] != "success":
                        time.sleep(0.2)
                yield url
            finally:
                server.terminate()


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
