"""The workflows of a simulation, and what each makes of its input when nothing goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cloche import (
    Concurrency,
    DirectEngine,
    RateLimit,
    RetryConfig,
    Step,
    StepContext,
    Workflow,
    create_step,
    create_task,
    create_workflow,
    gather,
    race,
    scope,
    set_deadline,
    set_tags,
    sleep,
    start_child,
    workflow,
)
from cloche.engines import Cell, Code
from cloche.history import DEFAULT_TENANT, Kind, Record, TenantId, TimeMs
from cloche.history.limits import Limits
from cloche.run.driver import PARK_AFTER_MS
from cloche.store import Store, Version, blob_digest

RETRIES = 4
BRINK = timedelta(milliseconds=PARK_AFTER_MS)  # a pause as long as the shortest that is parked
ANSWER = 7  # what the step "ask" is resumed with


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow and its result by its input; None: it fails. `events` come under the name "go", in order.

    `may_be_late`: it fails where the deadline for its event is over before. `is_parent`: it waits for a child, call 1, or the
    one that has the id `child`. `undone`: which steps undo what was done, in order, where it fails.
    """

    @property
    def id(self) -> str:
        return self.workflow.id if isinstance(self.workflow, Workflow) else self.workflow.workflow

    workflow: Workflow | Code
    result: Callable[[int], Any]
    events: tuple[Any, ...] = ()
    may_be_late: bool = False
    is_parent: bool = False
    child: str = ""
    undone: tuple[str, ...] = ()


def undone(records: Sequence[Record]) -> tuple[str, ...]:
    """What has undone a step, as often as it was done, in its order."""
    ended = (one.path for one in records if one.kind is Kind.STEP_COMPLETED)
    return tuple(path for path in ended if path is not None and path.startswith("undo:"))


class Steps:
    """Makes the steps: they take a while and fail now and then, the same way for one seed. `begins` is told of each attempt."""

    def __init__(self, seed: int, begins: Callable[[str, str], None]) -> None:
        self._seed = seed
        self._begins = begins

    def adds(self, id: str, amount: int) -> Step:
        return self._step(id, lambda value, ctx: value + amount)

    def asks(self) -> Step:
        def ask(value: int, ctx: StepContext) -> int:
            if ctx.resume_data is None:
                ctx.suspend({})
            return value + int(ctx.resume_data)

        return self._step("ask", ask)

    def refuses(self) -> Step:
        def refuse(value: int, ctx: StepContext) -> int:
            raise ValueError("never") if value % 2 else GeneratorExit  # which no attempt can tell: its end is looked at

        return self._step("refuse", refuse)

    def shares(self) -> Step:
        return self._step("share", lambda value, ctx: value + 100, concurrency=Concurrency("share", 1))

    def hurries(self) -> Step:
        limits = {"concurrency": Concurrency("share", 1), "rate_limit": RateLimit("hurry", 2, per_s=3)}
        return self._step("hurry", lambda value, ctx: value + 100, **limits)

    def _step(self, id: str, work: Callable[[int, StepContext], int], **options: Any) -> Step:
        async def execute(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
            self._begins(ctx.run_id, ctx.path)
            chance = random.Random(f"{self._seed} {ctx.run_id} {ctx.path} {ctx.attempt}")
            if chance.random() < 0.7:
                await asyncio.sleep(chance.choice((0, 0.01, 0.3, 2.0)))
            if ctx.attempt <= RETRIES - 1 and chance.random() < 0.2:
                raise ConnectionError("now and then")
            return {"v": work(data["v"], ctx)}

        return create_step(id=id, execute=execute, **options)


def _new(id: str, **options: Any) -> Any:
    return create_workflow(id=id, **options, retry_config=RetryConfig(attempts=RETRIES, delay_s=0.5))


def flows(steps: Steps) -> list[Flow]:
    a, b, c, refuses = steps.adds("a", 1), steps.adds("b", 10), steps.adds("c", 100), steps.refuses()
    return [
        Flow(_new("row").then(a).then(b).then(c).commit(), lambda v: {"v": v + 111}),
        Flow(_new("naps").then(a).sleep(1.5).then(b).sleep(BRINK).then(c).commit(), lambda v: {"v": v + 111}),
        Flow(_new("fan").then(a).parallel([b, c]).commit(), lambda v: {"b": {"v": v + 11}, "c": {"v": v + 101}}),
        Flow(_new("asks").then(a).then(steps.asks()).then(b).commit(), lambda v: {"v": v + 11 + ANSWER}),
        Flow(
            _new("told").then(a).wait_for_event("go").wait_for_event("go", id="again").commit(),
            lambda v: {"v": 2},
            events=({"v": 1}, {"v": 2}, {"v": 3}),
        ),
        Flow(
            _new("dated").then(a).wait_for_event("go", timeout=8).then(b).commit(),
            lambda v: {"v": 17},
            events=({"v": 7},),
            may_be_late=True,
        ),
        Flow(_new("bad").then(a).then(refuses).commit(), lambda v: None),
        Flow(_parent_of("asks"), lambda v: {"v": v + 11 + ANSWER}, is_parent=True),
        Flow(_parent_of("naps"), lambda v: {"v": v + 111}, is_parent=True),
        Flow(_gives_up("asks"), lambda v: {"v": 0}),
        Flow(_new("shares").then(a).then(steps.shares()).then(b).commit(), lambda v: {"v": v + 111}),
        Flow(_new("hurries").then(steps.hurries()).then(a).commit(), lambda v: {"v": v + 101}),
        Flow(
            _new("alone", concurrency=Concurrency("alone", 1)).then(a).sleep(1.5).then(b).commit(),
            lambda v: {"v": v + 11},
        ),
        *_that_say_more(steps, a, b, c, refuses),
    ]


def _that_say_more(steps: Steps, a: Step, b: Step, c: Step, refuses: Step) -> list[Flow]:
    return [
        Flow(_in_words(a, b, c), lambda v: {"v": v + 133}),
        Flow(_names_a_child(a), lambda v: {"v": v + 12 + ANSWER}, is_parent=True, child="kid"),
        Flow(_gives_up("asks", named="kid"), lambda v: {"v": 0}),
        Flow(
            _new("undoes")
            .then(a, compensate=steps.adds("undo a", 0))
            .then(b, compensate=steps.adds("undo b", 0))
            .then(refuses)
            .commit(),
            lambda v: None,
            undone=("undo:b", "undo:a"),
        ),
    ]


RETRIED = RetryConfig(attempts=RETRIES, delay_s=0.5)


def _in_words(a: Step, b: Step, c: Step) -> Workflow:
    @workflow(id="in words", retry_config=RETRIED)
    async def in_words(data: dict[str, int]) -> dict[str, int]:
        set_deadline(days=30_000)  # a clock that is set may be years ahead
        set_tags(flow="words")
        early = create_task(c(data))
        with scope("race"):
            _, won = await race(work=b(data), patience=sleep(days=20_000))
        both = await gather(a(won), a(won), settle=True)
        late = create_task(sleep(days=20_000))
        late.cancel()
        ended = await early
        return {"v": ended["v"] + sum(one.value["v"] - data["v"] for one in both) + 11}

    return in_words


def _names_a_child(a: Step) -> Workflow:
    @workflow(id="names a child", retry_config=RETRIED)
    async def names_a_child(data: dict[str, int]) -> dict[str, int]:
        done: dict[str, int] = await a(await start_child("asks", data, id="kid"))
        return done

    return names_a_child


class Engine(DirectEngine):
    """Interprets graphs, and has what is written by hand in a real cell: only such code starts children."""

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        return (
            super().open(code, guest, limits, tenant) if code.graph else self._glass.open(code, guest, limits, tenant)
        )


ENGINE = Engine()


def _parent_of(child: str) -> Code:
    """Code that a tenant has deployed: nothing but a child of this workflow."""
    source = f"export default async function workflow(input) {{ return cloche.child('child', '{child}', input); }}"
    return Code(f"parent of {child}", ENGINE.guest()[0], source, {}, "", owner=DEFAULT_TENANT)


def _gives_up(child: str, named: str = "") -> Code:
    """As `_parent_of`, for a child that nobody answers: it is left behind, and has to end all the same."""
    id = f", {{ id: '{named}' }}" if named else ""
    source = (
        "export default async function workflow(input) {\n"
        f"  await Promise.race([cloche.child('child', '{child}', input{id}), cloche.sleep('nap', 1500)]);\n"
        "  return {v: 0};\n}"
    )
    return Code(f"gives up {child} {named}".strip(), ENGINE.guest()[0], source, {}, "", owner=DEFAULT_TENANT)


async def deploy(store: Store, code: Code) -> None:
    bundle = code.pack()
    version = Version(DEFAULT_TENANT, f"{code.workflow}@1", code.workflow, blob_digest(bundle), TimeMs(0))
    await store.deploy(version, {version.digest: bundle, code.guest: ENGINE.guest()[1]})
