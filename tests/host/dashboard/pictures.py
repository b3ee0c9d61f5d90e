"""Renews the pictures of docs/operations/dashboard.md: `python tests/host/dashboard/pictures.py [FOLDER]`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from support.dashboard import begin_all, targets  # noqa: E402
from support.serving import Serving  # noqa: E402

FOLDER = ROOT / "docs" / "pictures" / "dashboard"
PLACES = {
    "runs": ("runs", 1280, 800),
    "failures": ("runs?view=failures", 1280, 480),
    "start": ("runs?start=fulfil", 1280, 640),
    "workflows": ("workflows", 1280, 480),
    "workflow": ("workflows/fulfil", 1280, 800),
    "schedules": ("schedules", 1280, 480),
    "workers": ("workers", 1280, 360),
    "usage": ("usage", 1280, 360),
    "phone": ("runs", 390, 800),
    "run": ("runs/A-1015?step=approve", 1440, 900),
    "run-past": ("runs/A-1015?seq=26&step=quote-shipping", 1440, 900),
    "run-failed": ("runs/sync-2026-11-27?step=fetch", 1440, 900),
    "run-phone": ("runs/A-1015", 390, 1100),
}


def main() -> None:
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    program = os.environ.get("CLOCHE_CHROMIUM") or shutil.which("chromium")
    store = f"{tempfile.mkdtemp()}/runs.db"
    with Serving(*targets(), store=store) as server, sync_playwright() as playwright:
        begin_all(server)
        nightly = {"workflow": "stock-sync", "cron": "0 3 * * *", "tz": "Europe/Warsaw", "input": {"file": "n.csv"}}
        server._client.put("/v1/schedules/nightly", json=nightly)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for name, (place, width, height) in PLACES.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    locale="en-GB",
                    timezone_id="UTC",
                )
                page = context.new_page()
                page.goto(f"{server.url}/#/{place}")
                page.get_by_role("heading", level=1).wait_for()
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / f"{name}-{scheme}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
