"""The words of JavaScript workflows: crashed at each commit, replayed, with cells in threads and in processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, Submitted, javascript

from cloche import Limits, Workflow, create_step, create_workflow
from cloche.testing import crash_everywhere

STEPS = [
    create_step(id="inc", execute=lambda n: n + 1),
    create_step(id="undo", execute=lambda n: f"undid {n}"),
]

HOOK = """
cloche.setTags({ customer: "c-17", n: input });
cloche.setDeadline(3_600_000);
const hook = cloche.createHook({ token: "votes" });
const first = await hook;
hook.close();
let closed = "";
try { await hook; } catch (error) { closed = error.message.length > 0; }
return { first, closed, then: await step("inc")(first) };
"""
RACE = """
const won = await Promise.race([step("inc")(input), cloche.sleep("patience", 9_000_000, 0)]);
const all = await Promise.allSettled([step("inc")(won), step("inc")(won + 1), Promise.reject(new Error("no"))]);
return all.map((one) => one.value ?? one.reason.message);
"""
SAGA = """
const done = [];
try {
  done.push(await step("inc")(input));
  done.push(await step("inc")(input + 1));
  await cloche.waitForEvent("w", "paid", 0);
} catch (error) {
  const undone = [];
  for (const one of done.reverse()) undone.push(await step("undo")(one));
  return { why: error.message, undone };
}
"""
CONTINUES = """
const { n, seen } = typeof input === "number" ? { n: input, seen: [] } : input;
seen.push(await step("inc")(n));
if (seen.length < 3) return await cloche.continueAsNew({ n: n + 1, seen });
return seen;
"""
CLEANS_UP = """
try { await cloche.sleep("s", 9e12, 0); } finally { await step("undo")(input); }
"""


def flow(mode: Mode, body: str) -> Workflow:
    """A workflow whose cells have this source."""
    engine = Submitted(ENGINES[mode](Limits()), javascript(body))
    flow = create_workflow(id="flow", guest="javascript", execution_engine=engine)
    for one in STEPS:
        flow = flow.then(one)
    return flow.commit()


CASES: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "a hook": (HOOK, {"events": {"votes": 4}}, "success", {"first": 4, "closed": True, "then": 5}),
    "a race, and all of them": (RACE, {}, "success", [3, 4, "no"]),
    "a saga": (SAGA, {"events": {"paid": ValueError("no money")}}, "success", None),
    "next histories": (CONTINUES, {}, "success", [2, 3, 4]),
    "a clean-up": (CLEANS_UP, {"cancel_after_s": 5}, "canceled", None),
}


@pytest.fixture(params=ENGINES)
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.mark.parametrize("name", CASES)
def test_no_crash_changes_how_it_ends(mode: Mode, name: str) -> None:
    body, options, status, result = CASES[name]
    report = crash_everywhere(flow(mode, body), 1, **options)
    assert report.result.status == status
    if result is not None:
        assert report.result.result == result
    elif status == "success":
        assert report.result.result["undone"] == ["undid 3", "undid 2"]
    assert report.crashes >= 4


def test_no_crash_loses_a_history_in_a_file(tmp_path: Path) -> None:
    report = crash_everywhere(flow("in-process", CONTINUES), 1, sqlite=tmp_path)
    assert report.result.unwrap() == [2, 3, 4]
