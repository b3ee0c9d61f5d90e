"""Random workflows whose steps fail, are tried again, suspend, bail and change the state, and how to live one to its end.

A `Flow` is plain data that hypothesis draws and shrinks; `built` makes the workflow of it with the steps of a journal. What a
step does depends only on its kind, its input and its attempt, so that every life of the run should come to the same end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, TypeAlias, get_args

from hypothesis import strategies as st
from support.apps import KEY, Journal
from support.cases import Case

from cloche import RetryConfig, RunResult, Step, StepContext, Workflow, create_workflow, path
from cloche.errors import FatalError, RetryableError
from cloche.history.values import encode, plain
from cloche.operations import replay

Act = Literal["pass", "add", "flaky", "late", "fail", "fatal", "ask", "ask twice", "bail", "set", "update", "write"]
Kind = Literal[
    "then", "parallel", "branch", "choose", "loop", "foreach", "sleep", "sleep until", "event", "nested", "map"
]
MODULUS = 97  # what is computed stays small
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"settle": True},
    {"min_successes": 1},
    {"tolerated_failures": 1},
    {"limit": 1},
    {"limit": 2},
)
WINDOWS: tuple[dict[str, Any], ...] = (
    {},
    {"concurrency": 2},
    {"concurrency": 9, "on_error": "collect"},
    {"concurrency": 3, "tolerated_failures": 1},
    {"on_error": "collect"},
    {"concurrency": 3},
)
ACTS = get_args(Act)


@dataclass(frozen=True)
class Node:
    """One entry: `acts` of its bodies, `number` for whatever it needs one for, `option` for its policy."""

    kind: Kind
    acts: tuple[Act, ...]
    number: int
    option: int
    inner: tuple[Node, ...] = ()


Flow: TypeAlias = tuple[Node, ...]


def _nodes(inner: st.SearchStrategy[tuple[Node, ...]], kinds: tuple[Kind, ...]) -> st.SearchStrategy[Node]:
    acts = st.lists(st.sampled_from(ACTS), min_size=1, max_size=3).map(tuple)
    return st.builds(Node, st.sampled_from(kinds), acts, st.integers(0, 9), st.integers(0, 5), inner)


_FLAT: tuple[Kind, ...] = (
    "then",
    "parallel",
    "branch",
    "choose",
    "loop",
    "foreach",
    "sleep",
    "sleep until",
    "event",
    "map",
)
_flat = st.lists(_nodes(st.just(()), _FLAT), min_size=1, max_size=3).map(tuple)
flows: st.SearchStrategy[Flow] = st.lists(_nodes(_flat, (*_FLAT, "nested")), min_size=1, max_size=5).map(tuple)


# ---- building --------------------------------------------------------------------------------------------------------------


def built(flow: Flow, journal: Journal) -> Workflow:
    """The workflow of `flow`. Behind every entry a step makes a small number of whatever came out."""
    return _Builder(journal).workflow("w", flow)


class _Builder:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._names: Iterator[int] = count(1)

    def workflow(self, id: str, flow: Flow) -> Workflow:
        workflow = create_workflow(id=id, retry_config=RetryConfig(attempts=0))
        for node in flow:
            self._add(workflow, node)
            workflow.then(self._journal.step(f"small-{next(self._names)}", lambda data: {"v": small(data)}))
        return workflow.commit()

    def _add(self, workflow: Workflow, node: Node) -> None:
        number, option = node.number, node.option
        match node.kind:
            case "then":
                workflow.then(self._step(node.acts[0], number))
            case "parallel":
                workflow.parallel(self._steps(node), **POLICIES[option])
            case "branch":
                arms = self._steps(node)
                workflow.branch([(path("inputData.v") > 30 * i + number, arm) for i, arm in enumerate(arms)])
            case "choose":
                arms = self._steps(node)
                last = arms.pop() if len(arms) > 1 else None
                conditions: list[Any] = [path("inputData.v") > 70, f"inputData.v % 2 === {number % 2}"]
                workflow.choose(list(zip(conditions, arms, strict=False)), otherwise=last)
            case "loop":
                condition = f"iterationCount >= {1 + number % 3}"
                body = self._step(node.acts[0], number)
                workflow.dountil(body, condition) if option % 2 else workflow.dowhile(body, f"!({condition})")
            case "foreach":
                split = self._journal.step(f"split-{next(self._names)}", lambda data: items(data, number % 4))
                workflow.then(split).foreach(self._step(node.acts[0], number), **WINDOWS[option])
            case "sleep":
                workflow.sleep([0, 0.01, 30, 86_400, 1, 3_600][option])
            case "sleep until":
                workflow.sleep_until(path("initData.at"))
            case "event":
                workflow.wait_for_event(f"e{number % 3}", timeout=None if option % 2 else 60)
            case "nested":
                workflow.then(self.workflow(f"n-{next(self._names)}", node.inner))
            case "map":
                workflow.map({"v": path("inputData.v"), "first": path("initData.v"), "s": path("state.sum")})

    def _steps(self, node: Node) -> list[Step]:
        return [self._step(act, node.number) for act in node.acts]

    def _step(self, act: Act, number: int) -> Step:
        retries = RetryConfig(attempts=2, delay_s=[0, 0.5, 20][number % 3])
        return self._journal.acts(f"{act.replace(' ', '-')}-{next(self._names)}", _DEEDS[act], retry_config=retries)


def small(data: Any) -> int:
    """A number of anything."""
    if isinstance(data, dict) and isinstance(data.get("v"), int):
        return int(data["v"]) % MODULUS
    return zlib.crc32(encode(plain(data))) % MODULUS


def items(data: Any, length: int) -> list[dict[str, int]]:
    return [{"v": (small(data) + 13 * index) % MODULUS} for index in range(length)]


def _add(data: Any, ctx: StepContext) -> Any:
    return {"v": (small(data) * 3 + 1) % MODULUS}


def _flaky(data: Any, ctx: StepContext) -> Any:
    if ctx.attempt <= small(data) % 3:
        raise ValueError(f"not yet: attempt {ctx.attempt}")
    return _add(data, ctx)


def _late(data: Any, ctx: StepContext) -> Any:
    if ctx.attempt == 1:
        raise RetryableError("later", retry_after=120)
    return _add(data, ctx)


def _fail(data: Any, ctx: StepContext) -> Any:
    if small(data) % 3:
        raise KeyError("always")
    return data


def _fatal(data: Any, ctx: StepContext) -> Any:
    if small(data) % 2:
        raise FatalError("at once")
    return data


def _ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"at": small(data)}, resume_label=ctx.path)
    return {"v": (small(data) + ctx.resume_data["add"]) % MODULUS}


def _ask_twice(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"round": 1})
    if ctx.suspend_data == {"round": 1}:
        ctx.suspend({"round": 2})
    return _ask(data, ctx)


def _bail(data: Any, ctx: StepContext) -> Any:
    if small(data) % 2:
        ctx.bail({"v": small(data), "bailed": True})
    return data


def _set(data: Any, ctx: StepContext) -> Any:
    ctx.set_state(**{f"at-{ctx.path}": small(data)})
    return {"v": (small(data) + len(ctx.state)) % MODULUS}


def _update(data: Any, ctx: StepContext) -> Any:
    ctx.update_state(lambda state: {"sum": (state.get("sum", 0) + small(data)) % MODULUS})
    return data


def _write(data: Any, ctx: StepContext) -> Any:
    ctx.writer.write({"seen": small(data)})
    return data


_DEEDS: dict[Act, Any] = {
    "pass": lambda data, ctx: data,
    "add": _add,
    "flaky": _flaky,
    "late": _late,
    "fail": _fail,
    "fatal": _fatal,
    "ask": _ask,
    "ask twice": _ask_twice,
    "bail": _bail,
    "set": _set,
    "update": _update,
    "write": _write,
}


# ---- living ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outside:
    """What happens to a run from outside: its input, events that come early, and after how many answers it is canceled."""

    value: int
    early: tuple[int, ...]
    cancel_after: int | None


outsides = st.builds(
    Outside,
    st.integers(0, MODULUS - 1),
    st.lists(st.integers(0, 2), max_size=2, unique=True).map(tuple),
    st.none() | st.none() | st.integers(0, 2),
)


async def lived(case: Case, flow: Flow, outside: Outside) -> RunResult:
    """Live the run to its end: whoever asks is answered, in the order of the paths, and whoever waits is told."""
    at = case.world.now() + 7_200_000
    await case.begin(built(flow, case.journal), {"v": outside.value, "at": at})
    for number in outside.early:
        if await case.store.run(KEY) is not None and (await case.look()).status not in (
            "success",
            "failed",
            "canceled",
        ):
            await case.send(f"e{number}", {"v": number})
    result = await case.end()
    for answers in count():
        if result.status not in ("suspended", "waiting"):
            return result
        if answers == outside.cancel_after:
            return await case.cancel()
        result = await _answered(case, result, answers)
    raise AssertionError("a run has no end")


async def _answered(case: Case, result: RunResult, answers: int) -> RunResult:
    machine = await replay.machine_of(case.store, KEY)
    if hooks := sorted(hook.name for hook in machine.open.hooks()):
        await case.send(hooks[0], {"v": answers})
        return await case.end()
    one = min(machine.open.suspensions(), key=lambda suspension: suspension.path)
    return await case.resume({"add": answers + 1}, step=str(one.path))
