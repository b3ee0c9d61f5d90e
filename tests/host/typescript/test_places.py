"""Where a failure of a TypeScript workflow is said to come from: file, line and column as its author wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop

import cloche
from cloche import Cloche

DEEP = """export const pick = (o) => { const a = o.first; return a.second.third; };
export default class Box { constructor(v) { this.v = v; } get() { return this.v.x.y; } }
"""
COMMON = "module.exports = { inner(o) { return o.a.b; } };\n"
FLOW = """import Box, { pick } from "deep";
import { inner } from "deep/common";
import { through } from "./lib";

enum Level { Low = 1, High }
class Own { v: any = {}; get(): number { return this.v.x.y; } }

export async function arrow() { "use workflow"; return pick({ first: {} } as never); }
export async function method() { "use workflow"; return (new Box({}) as any).get(); }
export async function common() { "use workflow"; return inner({}); }
export async function typed(level: Level = Level.High) { "use workflow"; const o: any = {}; return o.a.b + level; }
export async function own() { "use workflow"; return new Own().get(); }
export async function step() {
  "use workflow";
  return await through("o-1");
}
"""
LIB = """export async function through(id: string) {
  try {
    return await charge(id);
  } finally {
    await charge("other");
  }
}
export async function charge(id: string): Promise<string> {
  "use step";
  return id;
}
"""
PLACES = {
    "arrow": [("node_modules/deep/index.js", DEEP, "a.second.third"), ("flow.ts", FLOW, "pick({")],
    "method": [
        ("node_modules/deep/index.js", DEEP, "this.v.x.y"),
        ("flow.ts", FLOW, "get(); }\nexport async function common"),
    ],
    "common": [("node_modules/deep/common.cjs", COMMON, "o.a.b"), ("flow.ts", FLOW, "inner({})")],
    "typed": [("flow.ts", FLOW, "o.a.b")],
    "own": [("flow.ts", FLOW, "this.v.x.y"), ("flow.ts", FLOW, "get(); }\nexport async function step")],
    "step": [("lib.ts", LIB, 'charge("other")')],
}


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    package = tmp_path / "node_modules" / "deep"
    package.mkdir(parents=True)
    exports = '{".": "./index.js", "./common": "./common.cjs"}'
    (package / "package.json").write_text(
        f'{{"name": "deep", "version": "1.0.0", "type": "module", "exports": {exports}}}'
    )
    (package / "index.js").write_text(DEEP)
    (package / "common.cjs").write_text(COMMON)
    (tmp_path / "lib.ts").write_text(LIB)
    (tmp_path / "flow.ts").write_text(FLOW)
    return tmp_path / "flow.ts"


def place_of(file: str, text: str, part: str) -> str:
    at = text.index(part)
    return f"{file}:{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


def charge(id: str) -> str:
    raise ValueError(f"no card for {id}")


@pytest.mark.parametrize("name", PLACES)
@in_loop
async def test_a_failure_names_the_places_that_were_written(name: str, flow: Path) -> None:
    bundle = cloche.load_bundle(flow)
    async with Cloche(workflows=bundle.workflows, steps=[cloche.create_step(id="charge", execute=charge)]) as app:
        error: Any = (await (await app.start(name, [])).result()).error
    told = [line.strip().rpartition("(")[2].rstrip(")") for line in error.traceback.splitlines() if "    at " in line]
    assert told == [place_of(*one) for one in PLACES[name]]


@in_loop
async def test_a_step_in_python_that_fails_is_told_with_both_places(flow: Path) -> None:
    bundle = cloche.load_bundle(flow)
    async with Cloche(workflows=bundle.workflows, steps=[cloche.create_step(id="charge", execute=charge)]) as app:
        run = await app.start("step", [])
        error: Any = (await run.result()).error
        assert (await app.replay(run.id)).ok
    assert "ValueError: no card for other" in error.traceback
    assert 'test_places.py", line' in error.traceback
    assert "lib.ts:5:" in error.traceback


@in_loop
async def test_a_hook_that_was_closed_has_not_failed(tmp_path: Path) -> None:
    (tmp_path / "u.ts").write_text(
        'import { createHook, sleep } from "workflow";\n'
        'export async function u() { "use workflow"; { using hook = createHook({ token: "u" }); '
        'await Promise.race([hook, sleep(5)]); } return "closed"; }\n'
    )
    async with Cloche(workflows=cloche.load_bundle(tmp_path / "u.ts").workflows) as app:
        result = await (await app.start("u", [])).result()
    assert (result.result, result.steps["hook"].status) == ("closed", "canceled")
