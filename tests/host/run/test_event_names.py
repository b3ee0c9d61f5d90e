"""A name that no event can have is an error where code waits for it, which it can catch; by the host's own rule."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, wait_for_event, workflow
from cloche.history import ids

REPOSITORY = Path(__file__).parents[3]
NO_NAMES = ["", "x" * 201, "a\x07b", "e\u0301", " padded", "a\u200bb", "a\u00a0b", "\U000e0041"]
NO_TEXTS = [5, None]
NAMES = ["é", "go", "x" * 200, "\U0001f600" * 200, "a/b"]


@workflow
async def waits_for_all(names: Any) -> Any:
    found = []
    for name in names:
        try:
            await wait_for_event(name, timeout=0)
        except Exception as error:
            found.append(type(error).__name__)
    return found


JAVASCRIPT = """
export default async function workflow(names) {
  const found = [];
  for (const name of names) {
    try {
      await cloche.waitForEvent("wait" + found.length, name, null, 0);
    } catch (error) {
      found.push(error.name);
    }
  }
  return found;
}
"""


@in_loop
async def test_what_is_no_name_is_an_error_in_python() -> None:
    needs_python()
    async with Cloche("memory:", workflows=[waits_for_all]) as app:
        found = (await (await app.start(waits_for_all, [*NO_NAMES, *NO_TEXTS, *NAMES])).result()).unwrap()
    assert found == ["ValueError"] * len(NO_NAMES) + ["TypeError"] * len(NO_TEXTS) + ["EventTimeout"] * len(NAMES)


@in_loop
async def test_what_is_no_name_is_an_error_in_javascript() -> None:
    async with Cloche("memory:") as app:
        version = await app.deploy("default", JAVASCRIPT, workflow="w", language="javascript")
        found = (await (await app.start(version, [*NO_NAMES, *NO_TEXTS, *NAMES])).result()).unwrap()
    assert found == ["RangeError"] * len(NO_NAMES) + ["TypeError"] * len(NO_TEXTS) + ["EventTimeout"] * len(NAMES)


def test_the_guests_have_the_hosts_definition() -> None:
    file = REPOSITORY / "guest/python/prelude/_names.py"
    spec = importlib.util.spec_from_file_location("names_of_the_guest", file)
    assert spec is not None
    assert spec.loader is not None
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    assert (names.NOT_IN_NAMES.pattern, names.NAME_SIZE_MAX) == (ids.NOT_IN_NAMES.pattern, ids.NAME_SIZE_MAX)
    javascript = (REPOSITORY / "guest/js/prelude/workflow.js").read_text("utf-8")
    pattern = ids.NOT_IN_NAMES.pattern.replace(r"\ud800-\udfff", r"\u{d800}-\u{dfff}")
    for wide in ("13430", "1345f", "1bca0", "1bca3", "1d173", "1d17a", "e0000", "e0fff"):
        pattern = pattern.replace(rf"\U{wide:0>8}", rf"\u{{{wide}}}")
    assert f"/{pattern}/u" in javascript
