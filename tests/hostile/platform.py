"""A host with two tenants: `mallory` means harm, `neighbour` only works. What the one does to the other is measured.

An attack is the source of a workflow, or a whole guest. Beside it, on the same event loop, store and engine, a run of the
neighbour makes step after step from before it begins until after it has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from textwrap import indent
from typing import Any, Literal

from support.apps import AppOn, in_loop, until

from cloche import Limits, Run, Workflow, create_step, create_workflow, path
from cloche.engines import Cell, CellSource, Code, Language, ProcessEngine, SandboxEngine
from cloche.history import Kind, RunId, RunKey, TenantId
from cloche.store import MemoryStore, all_records
from cloche.testing import TestApp

Mode = Literal["in-process", "process"]
ENGINES: dict[Mode, Callable[[Limits], CellSource]] = {
    "in-process": SandboxEngine,
    "process": cache(ProcessEngine),  # a process outlives an attack: the next one of the tenant is made in it
}
LIMITS: dict[Language, Limits] = {
    "javascript": Limits(fuel_per_event=60_000_000, fuel_per_load=200_000_000, memory_bytes=32 << 20),
    "python": Limits(fuel_per_event=300_000_000, fuel_per_load=2_000_000_000, memory_bytes=80 << 20),
}
STILL_MS = 100.0  # attacks that end at once leave no time for a step: then nothing may have held it up
AROUND = 2  # steps of the neighbour before and behind an attack
echo = create_step(id="echo", execute=lambda data: data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attack ended, and what the neighbour did meanwhile.

    `name` is that of the error, or the result of a success; `kind` that of the record which ended the run.
    """

    status: str
    name: str
    message: str
    kind: Kind
    neighbour_steps: int
    neighbour_pause_ms: float  # the longest between two of its steps

    @property
    def end(self) -> tuple[str, str]:
        return self.status, self.name


def javascript(body: str) -> str:
    """A workflow with this body; `step` and `input` are at hand."""
    return (
        'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\n'
        f"export default async function workflow(input) {{ {body} }}\n"
    )


def python(body: str, head: str = "") -> str:
    """The same in Python."""
    return (
        f"import cloche\nfrom cloche import gather, race, step, workflow\n{head}\n"
        f"@workflow\nasync def main(input):\n{indent(body, '    ')}\n"
    )


def attacked(
    mode: Mode,
    source: str,
    *,
    language: Language = "javascript",
    limits: Limits | None = None,
    guest: tuple[str, bytes] | None = None,
) -> Outcome:
    """Live a run of `source`, or of a `guest` that takes any source, to its end beside the neighbour's.

    What must hold of every attack is asserted here: both logs are whole and replay alike, the neighbour's run has made its
    steps before, during and after, and neither tenant finds anything of the other.
    """
    outcome: list[Outcome] = []
    chosen = limits or LIMITS[language]

    @in_loop
    async def live() -> None:
        store, neighbour = MemoryStore(), Neighbour(language)
        engine = Submitted(ENGINES[mode](chosen), source, guest)
        workflow = create_workflow(id="attack", guest=language).then(echo).commit()
        home = AppOn(store, tenant="neighbour", workflows=[neighbour.workflow], engine=ENGINES[mode](LIMITS[language]))
        den = AppOn(store, tenant="mallory", workflows=[workflow], engine=engine)
        async with home, den:
            working = await home.start("neighbour", {"n": 0, "left": 1}, run_id="work")
            await neighbour.makes(AROUND)
            steps = len(neighbour.steps)
            attack = await den.start("attack", 1, run_id="attack")
            result = await attack.result()
            during = len(neighbour.steps) - steps
            await neighbour.makes(AROUND)
            pause = neighbour.longest_pause_ms(steps)
            await neighbour.ends(home, working)
            await _check_both(home, den, replays=guest is None)
            assert during or pause < STILL_MS, "the neighbour's run stood still"
            error = result.error
            *_, last = await all_records(store, RunKey(TenantId("mallory"), RunId("attack")))
            ended = (error.name, error.message) if error else (str(result.result), "")
            outcome.append(Outcome(result.status, *ended, last.kind, during, pause))

    live()
    return outcome[0]


async def _check_both(home: AppOn, den: AppOn, *, replays: bool) -> None:
    """Both logs are whole, the attack replays where it can, and each tenant sees its own run only."""
    if replays:
        assert (await den.replay("attack")).ok
    assert (await den.verify()).ok
    assert [row.key.run for row in await home.list()] == ["work"]
    assert [row.key.run for row in await den.list()] == ["attack"]


@dataclass
class Neighbour:
    """A workflow that makes steps until it is told to end, and the times at which it made them."""

    language: Language
    steps: list[float] = field(default_factory=list)
    is_told: bool = False

    @property
    def workflow(self) -> Workflow:
        tick = create_step(id="tick", execute=self._tick)
        return create_workflow(id="neighbour", guest=self.language).dountil(tick, path("inputData.left") < 1).commit()

    async def _tick(self, data: Any) -> Any:
        self.steps.append(time.monotonic())
        await asyncio.sleep(0.001)
        return {"n": data["n"] + 1, "left": 0 if self.is_told else 1}

    async def makes(self, count: int) -> None:
        """Wait for so many further steps."""
        wanted = len(self.steps) + count
        await until(lambda: len(self.steps) >= wanted)

    async def ends(self, app: TestApp, run: Run) -> None:
        """It ends as it would have alone, and its records lead to the same again."""
        self.is_told = True
        result = await run.result()
        assert (result.status, result.result) == ("success", {"n": len(self.steps), "left": 0})
        report = await app.replay(run.id)
        assert report.ok

    def longest_pause_ms(self, since: int) -> float:
        """Between two steps, from the last of the first `since` on."""
        times = self.steps[since - 1 :]
        return max(after - before for before, after in pairwise(times)) * 1000


class Submitted:
    """An engine whose workflow "attack" has another source than its graph says, or another guest."""

    def __init__(self, engine: CellSource, source: str, guest: tuple[str, bytes] | None = None) -> None:
        self._engine, self._source, self._guest = engine, source, guest
        self.name, self.meter, self.validator = engine.name, engine.meter, engine.validator

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        return self._guest or self._engine.guest(language)

    def limits(self) -> Limits:
        return self._engine.limits()

    def load(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> None:
        self._engine.load(self._submitted(code), self._wasm(guest), limits, tenant)

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        return self._engine.open(self._submitted(code), self._wasm(guest), limits, tenant)

    def thaw(
        self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes
    ) -> Cell | None:
        return self._engine.thaw(self._submitted(code), self._wasm(guest), limits, tenant, frozen)

    def _submitted(self, code: Code) -> Code:
        return replace(code, source=self._source)

    def _wasm(self, guest: Callable[[], bytes]) -> Callable[[], bytes]:
        own = self._guest
        return guest if own is None else lambda: own[1]
