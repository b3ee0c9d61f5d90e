"""TypeScript with "use workflow": compiling, replay of compiled code, cells of a large bundle, a step on Node."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from benchmarks import histories as h
from benchmarks.baselines import await_us
from benchmarks.figures import Figure, Scale, median_us, once_us, wall_and_cpu_us
from cloche import Cloche, NodeSteps, SandboxEngine, UsageError, create_workflow, step
from cloche.history.messages import CompleteRun
from cloche.history.output import split_output, unpack_command
from cloche.operations.typescript import Given
from cloche.operations.typescript.compiling import compile_with
from cloche.sandbox import Cell, Image
from cloche.sandbox.cells import mapped_images

FLOW = """import { add } from "./add";
import { name } from "./name";
import { sleep } from "workflow";

export async function sequential(n: number): Promise<number> {
  "use workflow";
  let x = add(0, 0);
  for (let i = 0; i < n; i++) x = await inc(x);
  return x;
}
export async function parallel(n: number): Promise<number> {
  "use workflow";
  const all = await Promise.all(Array.from({ length: n }, (_, i) => inc(i)));
  return all.length;
}
export async function rests(what: string): Promise<string> {
  "use workflow";
  await sleep("1 day");
  return name(what);
}
async function inc(x: number): Promise<number> {
  "use step";
  return x + 1;
}
"""
FILES: dict[str, str | bytes] = {
    "flow.ts": FLOW,
    "add.ts": "export const add = (a: number, b: number): number => a + b;\n",
    "name.ts": "export function name(what: string): string {\n  return `${what}!`;\n}\n",
}
STEPS = "export async function incOnNode(x) { return x + 1; }\n"
BYTES_MAX = 16 << 20
BUNDLE_BYTES = 608_000
COMPILE_MS, NODE_MS, OPEN_MS, CELL_MB = 60, 0.5, 0.5, 1.0
REPLAY_MS = {("sequential", 1_000): 7, ("sequential", 10_000): 80, ("parallel", 10_000): 120}
SHARED_WITHIN_S = 30.0


def typescript(scale: Scale) -> Iterator[Figure]:
    """Everything that a workflow in TypeScript costs beyond one of another language."""
    yield from _compiling()
    yield from _replaying(scale)
    yield from _opening()
    yield from _node(scale)


def _compiling() -> Iterator[Figure]:
    """Three files, of which each time one is another: nothing is kept of a text."""
    engine, variants = SandboxEngine(), count()
    source = ""

    def once() -> None:
        nonlocal source
        files = Given({**FILES, "flow.ts": f"{FLOW}// {next(variants)}\n"})
        source = compile_with(engine, files.entry("flow.ts"), files, BYTES_MAX).source

    first = once_us(once) / 1000
    wall, cpu = (sorted(values)[4] / 1000 for values in zip(*(wall_and_cpu_us(once) for _ in range(9)), strict=True))
    load = median_us(lambda: h.image(f"// {next(variants)}\n{source}"), 3) / 1000
    note = f"{cpu:.3g} of CPU; the first {first:,.0f} ms"
    yield Figure("compile three files, after the first", wall, "ms", "load of what comes out", load, COMPILE_MS, note)


def _compiled() -> str:
    files = Given(FILES)
    return compile_with(SandboxEngine(), files.entry("flow.ts"), files, BYTES_MAX).source


def _replaying(scale: Scale) -> Iterator[Figure]:
    """Whole histories in one crossing, of the script that the compiler made."""
    image = h.image(_compiled())
    for shape, sizes in (("sequential", (10, 1_000, 10_000)), ("parallel", (10, 10_000))):
        for size in scale.sizes(*sizes):
            events = _events(shape, size)
            taken, cpu = _replay_ms(image, events)
            base = await_us() * size / 1000
            goal = REPLAY_MS.get((shape, size))
            label = f"replay of compiled TypeScript, {shape}, {size:,}"
            yield Figure(label, taken, "ms", "as many bare awaits", base, goal, f"{cpu:.3g} of CPU", shape, size)


def _replay_ms(image: Image, events: list[bytes]) -> tuple[float, float]:
    """Medians of wall time and CPU."""
    times = [wall_and_cpu_us(lambda: Cell(image, h.LIMITS).turn(events)) for _ in range(5)]
    wall, cpu = (sorted(values)[2] / 1000 for values in zip(*times, strict=True))
    return wall, cpu


def replays(file: Path, workflow: str, size: int) -> list[float]:
    """Seconds of five replays by a cell of the file as it is compiled, of a history in memory: each comes to the run's end."""
    files = Given({file.name: file.read_text()})
    image = h.image(compile_with(SandboxEngine(), files.entry(file.name), files, BYTES_MAX).source)
    events = _events(workflow, size)
    told = [one for turn in split_output(Cell(image, h.LIMITS).turn(events)) for one in turn]
    assert isinstance(unpack_command(told[-1]), CompleteRun)
    return [wall_and_cpu_us(lambda: Cell(image, h.LIMITS).turn(events))[0] / 1e6 for _ in range(5)]


def _events(workflow: str, size: int) -> list[bytes]:
    given = {"run": {"id": "bench", "entry": workflow, "spread": True}}
    return [replace(h.started([size]), given=given).pack(), *h.events(size)[1:]]


def _opening() -> Iterator[Figure]:
    """Cells of a script as large as that of 18 workflows that another builder compiled, in an image that they share."""
    image = h.image(_filling() + _compiled())
    unshared = Cell(image, h.LIMITS)
    by_pages = median_us(lambda: Cell(image, h.LIMITS), 2) / 1000
    until = time.monotonic() + SHARED_WITHIN_S
    while mapped_images.find(image) is None and time.monotonic() < until:  # another thread makes it
        time.sleep(0.01)
    opened = median_us(lambda: Cell(image, h.LIMITS), 20) / 1000
    yield Figure("cell of a bundle of 608 kB", opened, "ms", "one that does not share its image", by_pages, OPEN_MS)
    begun = Cell(image, h.LIMITS)
    begun.turn([_events("sequential", 1)[0]])
    own, whole = begun.resident_bytes / 1e6, unshared.resident_bytes / 1e6
    yield Figure("memory of such a cell, begun", own, "MB", "one that does not share its image", whole, CELL_MB)


def _filling() -> str:
    """Functions that are there and are not called."""
    lines = (f"globalThis.f{i} = (a) => a > {i} ? `${{a}}: {i}` : null;\n" for i in count())
    text, size = [], 0
    while size < BUNDLE_BYTES:
        text.append(next(lines))
        size += len(text[-1])
    return "".join(text)


def _node(scale: Scale) -> Iterator[Figure]:
    """Runs of one step, on Node and in this process, which take turns."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        file = Path(folder) / "steps.mjs"
        file.write_text(STEPS)
        try:
            here, there = asyncio.run(_steps(file, scale.sizes(10, 200)[-1]))
        except UsageError as missing:
            print(f"typescript: {missing}", file=sys.stderr)
            return
    yield Figure("a step on Node, beyond one in Python", there - here, "ms", "a run of one in Python", here, NODE_MS)


async def _steps(file: Path, runs: int) -> tuple[float, float]:
    @step(id="incHere")
    async def inc_here(x: int) -> int:
        return x + 1

    node = NodeSteps(file)
    [inc_there] = [one for one in await node.open_steps() if one.id == "incOnNode"]
    flows = [create_workflow(id=one.id).then(one).commit() for one in (inc_here, inc_there)]
    taken: dict[str, list[float]] = {flow.id: [] for flow in flows}
    async with Cloche("memory:", workflows=flows, steps=[node]) as app:
        for _ in range(runs + 1):
            for flow in flows:
                began = time.perf_counter()
                (await (await app.start(flow, 1)).result()).unwrap()
                taken[flow.id].append((time.perf_counter() - began) * 1000)
    here, there = (statistics.median(values[1:]) for values in taken.values())
    return here, there
