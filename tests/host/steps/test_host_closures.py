"""Host closures: functions that cannot go under glass, called once on the host, and taken from the log ever after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import DirectEngine, Graph, Policy, SandboxEngine, Workflow, create_workflow, load_workflow
from cloche.engines import CellSource
from cloche.errors import NotGranted
from cloche.history import Kind
from cloche.status import RunStatus
from cloche.store import MemoryStore
from cloche.testing import TestApp
from cloche_codegen import GraphError

LEAVE = Policy(host_closures=True)
ENGINES: list[type[SandboxEngine] | type[DirectEngine]] = [SandboxEngine, DirectEngine]


class Oracle:
    """An object of the host: its methods cannot go under glass, and no two answers are the same."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def _asked(self, data: Any) -> int:
        self.asked.append(data)
        return len(self.asked)

    def chance(self, data: Any) -> float:
        return self._asked(data) + random.random()

    def small(self, data: Any) -> bool:
        return self._asked(data) > 0 and data["v"] < 3

    def large(self, data: Any, ctx: Any) -> bool:
        self._asked(data)
        return bool(data["v"] >= ctx.init_data["limit"] and ctx.steps["inc"]["v"] == data["v"])

    def third(self, data: Any, ctx: Any) -> bool:
        self._asked(data)
        return bool(ctx.iteration_count == 3)

    def hour(self, data: Any) -> timedelta:
        self._asked(data)
        return timedelta(hours=1)

    async def slowly(self, data: Any) -> Any:
        await asyncio.sleep(0)
        return self._asked(data)

    def breaks(self, data: Any) -> Any:
        raise ValueError(f"no answer to {data['v']}")

    def nothing_found(self, data: Any) -> Any:
        return next(one for one in self.asked if one > 10)

    async def nothing_found_later(self, data: Any) -> Any:
        return next(one for one in self.asked if one > 10)

    def given_up(self, data: Any) -> Any:
        raise GeneratorExit


def nested(function: Any) -> Workflow:
    return create_workflow(id="n", mode="host-closures").map(function).commit()


def build(**options: Any) -> Workflow:
    return create_workflow(id="w", mode="host-closures", **options)


async def life(app: TestApp, given: Any, run_id: str = "r1") -> Any:
    run = await app.start("w", given, run_id=run_id)
    result = await run.result()
    assert (await app.replay(run_id)).ok
    return result


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_is_computed_once_and_the_same_in_every_later_life(engine: Callable[[], CellSource]) -> None:
    @in_loop
    async def test() -> None:
        oracle, journal, store, world = Oracle(), Journal(), MemoryStore(), ManualWorld()
        workflow = build().map(oracle.chance, id="m").sleep(3600).then(journal.take()).commit()
        answers = []
        for life_number in range(2):
            async with AppOn(store, workflows=[workflow], engine=engine(), policy=LEAVE, world=world) as app:
                run = await app.start("w", {"v": 1}, run_id="r1")
                if life_number == 0:
                    await until(lambda: store.runs(status=RunStatus.WAITING))
                    continue
                world.move(3600, app)
                answers.append((await run.result()).unwrap())
                records = await run.history()
                answers += [one.content()[3]["value"] for one in records if one.path == "m-closure" and one.kind == 6]
                assert (await app.replay("r1")).ok
        assert oracle.asked == [{"v": 1}]
        assert answers[0] == answers[1]

    test()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("make", "given", "expected", "asked"),
    [
        (lambda o, j: build().map({"a": o.slowly, "b": lambda d: d["v"]}), {"v": 7}, {"a": 1, "b": 7}, 1),
        (lambda o, j: build().map(lambda d: o._asked(d) and None), {"v": 7}, None, 1),
        (lambda o, j: build().branch([(o.small, j.inc()), (lambda d: d["v"] > 9, j.dbl())]), {"v": 2}, {"inc": {"v": 3}}, 1),
        (lambda o, j: build().choose([(o.small, j.inc())], otherwise=j.dbl()), {"v": 5}, {"dbl": {"v": 10}}, 1),
        (lambda o, j: build().then(j.inc()).choose([(o.large, j.dbl())]), {"v": 5, "limit": 6}, {"dbl": {"v": 12}}, 1),
        (lambda o, j: build().dowhile(j.inc(), o.small), {"v": 0}, {"v": 3}, 3),
        (lambda o, j: build().dountil(j.inc(), o.third), {"v": 0}, {"v": 3}, 3),
        (lambda o, j: build().map([1, 2]).foreach(j.take(), concurrency=o.slowly), None, [1, 2], 1),
        (lambda o, j: build().then(j.inc()).then(nested(o.slowly)), {"v": 0}, 1, 1),
    ],
    ids=["fields", "nothing", "branch", "choose", "context", "dowhile", "dountil", "foreach", "nested"],
)  # fmt: skip
def test_wherever_a_function_may_stand(
    engine: Callable[[], CellSource], make: Any, given: Any, expected: Any, asked: int
) -> None:
    @in_loop
    async def test() -> None:
        oracle = Oracle()
        workflow = make(oracle, Journal()).commit()
        async with AppOn(MemoryStore(), workflows=[workflow], engine=engine(), policy=LEAVE) as app:
            assert (await life(app, given)).unwrap() == expected
        assert len(oracle.asked) == asked

    test()


@in_loop
async def test_a_duration_of_the_host_and_what_flows_stays() -> None:
    oracle, world, store = Oracle(), ManualWorld(), MemoryStore()
    workflow = build().sleep(oracle.hour).commit()
    async with AppOn(store, workflows=[workflow], policy=LEAVE, world=world) as app:
        run = await app.start("w", {"v": 1})
        await until(lambda: store.runs(status=RunStatus.WAITING))
        world.move(3599, app)
        assert await run.status() == "waiting"
        world.move(1, app)
        assert (await run.result()).unwrap() == {"v": 1}


@in_loop
async def test_one_that_raises_fails_the_run_once_with_its_name_and_text() -> None:
    workflow = build(retry_config={"attempts": 3}).map(Oracle().breaks, id="m").commit()
    async with AppOn(MemoryStore(), workflows=[workflow], policy=LEAVE) as app:
        result = await life(app, {"v": 1})
        assert result.error is not None
        assert (result.error.name, result.error.message, result.error.step) == (
            "ValueError",
            "no answer to 1",
            "m-closure",
        )
        records = await (await app.get("r1")).history()
        assert [record.kind for record in records].count(Kind.ATTEMPT_STARTED) == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("asked", [Oracle.nothing_found, Oracle.nothing_found_later, Oracle.given_up])
@pytest.mark.parametrize("where", ["map", "choose"])
def test_one_that_raises_what_iteration_uses_fails_the_run(
    engine: Callable[[], CellSource], asked: Any, where: str
) -> None:
    @in_loop
    async def test() -> None:
        oracle, journal = Oracle(), Journal()
        function = getattr(oracle, asked.__name__)
        workflow = build().map(function) if where == "map" else build().choose([(function, journal.inc())])
        async with AppOn(MemoryStore(), workflows=[workflow.commit()], engine=engine(), policy=LEAVE) as app:
            assert (await life(app, {"v": 1})).status == "failed"
        assert journal.began == []

    test()


@in_loop
async def test_it_needs_the_leave_of_the_policy() -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[build().map(Oracle().chance).commit()]) as app:
        with pytest.raises(NotGranted, match=r"give its tenant a Policy\(host_closures=True\)") as raised:
            await app.start("w", {"v": 1})
    assert (raised.value.limit, raised.value.value, await store.runs()) == ("host_closures", False, [])


def test_a_stored_graph_without_the_function_says_which_step_is_missing() -> None:
    workflow = build().map(Oracle().chance, id="m").commit()
    stored = Graph.from_json(workflow.graph.to_json())
    with pytest.raises(GraphError, match="no function is given for 'm-closure'"):
        load_workflow(stored, steps={})
    assert load_workflow(stored, steps=workflow.steps).graph == workflow.graph


def test_strict_is_the_default_and_never_allows_it() -> None:
    for mode in ({}, {"mode": "strict"}):
        with pytest.raises(GraphError, match="which needs its object"):
            create_workflow(id="w", **mode).map(Oracle().chance).commit()


def test_a_nested_workflow_does_not_bring_the_mode_in_by_the_back_door() -> None:
    inner = build().map(Oracle().chance).commit()
    with pytest.raises(GraphError, match="give the workflow around it that mode too"):
        create_workflow(id="outer").then(inner).commit()


def test_what_can_go_under_glass_still_does() -> None:
    workflow = build().map(lambda data: data["v"] + 1).commit()
    assert workflow.steps == {}
    assert [node.type for node in workflow.graph.nodes] == ["map"]
