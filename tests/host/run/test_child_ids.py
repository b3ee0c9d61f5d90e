"""A child may have an id of its author's: a name under its parent, at which it is found and which the run gives once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.apps import AppOn, in_loop, one_loop, run_in_loop, until
from support.guests import needs_python
from support.served import served, started
from support.stores import key
from support.stores_of_all_kinds import STORES

from cloche import (
    DirectEngine,
    Policy,
    RunConflict,
    SandboxEngine,
    StepContext,
    UsageError,
    create_workflow,
    gather,
    race,
    start_child,
    step,
    wait_for_event,
    workflow,
)
from cloche.errors import MalformedOutput
from cloche.history.ids import (
    CallId,
    child_key,
    derived_key,
    new_run_key,
    parent_of,
    run_key,
    stored_run_key,
)
from cloche.history.ids import (
    Path as Place,
)
from cloche.history.messages import StartChild
from cloche.history.output import unpack_command
from cloche.history.values import encode
from cloche.store import MemoryStore, Store
from cloche.testing import crash_everywhere
from cloche.text import shown

is_down = [False]


@step
async def send(order: str) -> str:
    if is_down[0]:
        raise ValueError("no truck")
    return f"{order} is sent"


@workflow
async def shipping(order: str) -> str:
    return await send(order)


@workflow
async def waiting(order: str) -> Any:
    return await wait_for_event("arrived")


@workflow
async def ordering(order: str) -> list[Any]:
    first = await start_child(shipping, order, id="shipping")
    try:
        again = await start_child(shipping, "another", id="shipping")
    except RunConflict as error:
        again = str(error)
    return [first, again, await start_child(shipping, order, id="17"), await send(order)]


@workflow
async def in_twos(order: str) -> list[str]:
    ended = await gather(*[start_child(shipping, order, id=id) for id in ("a", "a", "b", "b")], settle=True)
    return ["RunConflict" if isinstance(one.error, RunConflict) else str(one.value) for one in ended]


@workflow
async def misnames(order: str) -> list[str]:
    said: list[str] = []
    bad: list[Any] = ["", 17, "a › b", "a\n", " a", "a" * 201]
    for id in bad:
        try:
            await start_child(shipping, order, id=id)
        except (TypeError, ValueError) as error:
            said.append(type(error).__name__)
    return said


@workflow
async def hurries(order: str) -> Any:
    return await race(start_child(waiting, order, id="slow"), wait_for_event("enough"))


@workflow
async def sends_and_ships(order: str) -> list[str]:
    return [await send(order), await start_child(shipping, order, id="shipping")]


CONFLICT = (
    "the run has a child of the id 'shipping' already, order-17 › shipping: give each child of a run an id of its own"
)


@pytest.fixture(autouse=True)
def _built() -> None:
    needs_python()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


@pytest.mark.parametrize("engine", [SandboxEngine, DirectEngine])
@in_loop
async def test_a_child_has_the_id_that_its_author_gives(store: Store, engine: Any) -> None:
    async with AppOn(store, workflows=[ordering, shipping], engine=engine()) as app:
        run = await app.start(ordering, "o", run_id="order-17")
        assert (await run.result()).unwrap() == ["o is sent", CONFLICT, "o is sent", "o is sent"]
        assert (await (await app.get("order-17 › shipping")).result()).unwrap() == "o is sent"
        assert sorted(row.key.run for row in await app.list()) == [
            "order-17",
            "order-17\x1f=17",
            "order-17\x1f=shipping",
        ]
        assert (await app.replay("order-17")).ok
        assert (await app.verify()).ok
        below = await app.lineage("order-17")
        assert [shown(one.run_id) for one in below.children] == ["order-17 › shipping", "order-17 › =17"]
        parent = (await app.lineage("order-17 › shipping")).parent
        assert parent is not None
        assert parent.run_id == "order-17"


@in_loop
async def test_of_two_that_live_the_first_has_the_id() -> None:
    async with AppOn(MemoryStore(), workflows=[in_twos, shipping]) as app:
        run = await app.start(in_twos, "o", run_id="r1")
        assert (await run.result()).unwrap() == ["o is sent", "RunConflict", "o is sent", "RunConflict"]
        assert (await app.replay("r1")).ok


@in_loop
async def test_what_is_no_id_is_told_at_the_line() -> None:
    async with AppOn(MemoryStore(), workflows=[misnames, shipping]) as app:
        said = (await (await app.start(misnames, "o")).result()).unwrap()
        assert said == ["ValueError", "TypeError", *["ValueError"] * 4]
        assert len(await app.list()) == 1


@in_loop
async def test_a_child_that_lost_a_race_is_canceled() -> None:
    async with AppOn(MemoryStore(), workflows=[hurries, waiting]) as app:
        run = await app.start(hurries, "o", run_id="r1")
        await until(app.list, lambda rows: len(rows) == 2)
        await app.send_event("r1", "enough", 1)
        assert (await run.result(final=True)).unwrap() == 1
        assert (await (await app.get("r1 › slow")).result(final=True)).status == "canceled"
        assert (await app.verify()).ok


JAVASCRIPT = """
export default async function workflow(order) {
  const said = [await cloche.child("first", "shipping", order, { id: "shipping" })];
  for (const id of ["shipping", "", 17, "a › b", "a\\n", "é".repeat(101), "\\ud800", "e\\u0301"]) {
    try { said.push(await cloche.child("again", "shipping", order, { id })); } catch (error) { said.push(error.name); }
  }
  return said;
}
"""


@in_loop
async def test_javascript_gives_ids_too() -> None:
    async with AppOn(MemoryStore(), workflows=[shipping], policy=Policy()) as app:
        version = await app.deploy("default", JAVASCRIPT, workflow="w", language="javascript")
        run = await app.start(version, "o", run_id="r1")
        assert (await run.result()).unwrap() == ["o is sent", "RunConflict", *["TypeError"] * 7]
        assert await (await app.get("r1 › shipping")).status() == "success"
        assert (await app.replay("r1")).ok


@step
async def begins(id: str, ctx: StepContext) -> list[str]:
    return [(await ctx.start_child("shipping", "o", id=id)).id for _ in range(2)]


@step
async def begins_both(id: str, ctx: StepContext) -> str:
    return str((await ctx.start_child("shipping", "o", id=id, run_id="r2")).id)


@workflow
async def by_step(id: str) -> Any:
    found = await begins(id)
    try:
        return [found, await begins(id)]
    except RunConflict:
        return found


@in_loop
async def test_a_step_gives_ids_of_its_own_kind() -> None:
    async with AppOn(
        MemoryStore(), workflows=[by_step, shipping, create_workflow(id="w").then(begins_both).commit()]
    ) as app:
        run = await app.start(by_step, "x", run_id="r1")
        assert (await run.result()).unwrap() == ["r1\x1fs=x"] * 2
        assert (await (await app.get("r1 › s=x")).result(final=True)).unwrap() == "o is sent"
        both = (await (await app.start("w", "x")).result()).error
        assert both is not None
        assert both.name == UsageError.__name__


@in_loop
async def test_a_child_with_an_id_is_retried_with_its_parent() -> None:
    is_down[0] = True
    async with AppOn(MemoryStore(), workflows=[ordering, shipping]) as app:
        assert (await (await app.start(ordering, "o", run_id="order-17")).result()).status == "failed"
        is_down[0] = False
        assert (await (await app.retry("order-17")).result()).unwrap()[0] == "o is sent"
        again = await app.lineage("order-17 › r1 › shipping")
        assert again.retry_of is not None
        assert (shown(again.retry_of.run_id), again.parent and shown(again.parent.run_id)) == (
            "order-17 › shipping",
            "order-17 › r1",
        )


@in_loop
async def test_it_is_moved_to_another_store() -> None:
    async with AppOn(MemoryStore(), workflows=[ordering, shipping]) as app:
        await (await app.start(ordering, "o", run_id="order-17")).result()
        packed = [await app.export(id) for id in ("order-17", "order-17 › shipping")]
    async with AppOn(MemoryStore(), workflows=[ordering, shipping]) as app:
        for one in packed:
            await app.import_(one)
        assert (await app.replay("order-17 › shipping")).ok
        assert (await app.verify()).ok


@in_loop
async def test_a_fork_has_its_own() -> None:
    async with AppOn(MemoryStore(), workflows=[sends_and_ships, shipping]) as app:
        await (await app.start(sends_and_ships, "o", run_id="r1")).result()
        fork = await app.fork("r1", at="send", new_run_id="r2")
        assert (await fork.result()).unwrap() == ["o is sent"] * 2
        assert [await (await app.get(f"{run} › shipping")).status() for run in ("r1", "r2")] == ["success"] * 2


@in_loop
async def test_it_has_its_address() -> None:
    async with served(ordering, shipping) as (ask, _):
        await started(ask, "ordering", "o", "order-17")
        for id in ("order-17 › shipping", "order-17\x1f=shipping", "order-17 › =17"):
            assert (await ask.get(f"/v1/runs/{quote(id)}")).json()["status"] == "success"


def test_no_crash_begins_it_twice(tmp_path: Path) -> None:
    assert crash_everywhere(ordering, "o", children=[shipping], sqlite=tmp_path).crashes >= 8
    assert crash_everywhere(in_twos, "o", children=[shipping]).crashes >= 8
    assert crash_everywhere(hurries, "o", events={"enough": 1}, children=[waiting]).crashes >= 6


# ---- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["shipping", "17", "r1", "s3", "s=x", "=a", "0", "é", "a/b", "a=b", "c5"])
@pytest.mark.parametrize("kind", ["c", "s"])
def test_an_id_is_read_as_it_is_shown(kind: str, id: str) -> None:
    child = derived_key(key("order-17"), kind, id)
    for one in (child, derived_key(derived_key(child, "c", CallId(4)), "n", CallId(2))):
        assert run_key(shown(one.run), one.tenant) == stored_run_key(one.run, one.tenant) == one
    assert parent_of(child) == ((key("order-17"), id) if kind == "c" else None)
    assert child != child_key(key("order-17"), CallId(17), derived_ids=True)


def test_no_caller_gives_such_an_id() -> None:
    with pytest.raises(UsageError, match="reads like that of a run which another one has begun"):
        new_run_key("order-17 › shipping", "default")


@pytest.mark.parametrize("id", ["", "a\x1fc1", "a › b", "x" * 201, 7, None])
def test_a_guest_that_gives_another_is_malformed(id: Any) -> None:
    body = encode([3, 1, "p", "w", None, {"id": id}])
    with pytest.raises(MalformedOutput, match="started a child whose options are not in the grammar"):
        unpack_command(body, is_new=True)
    assert unpack_command(encode([3, 1, "p", "w", None])) == StartChild(CallId(1), Place("p"), "w", None)


@workflow
async def nests(depth: int) -> str:
    try:
        return str(await start_child("nests", depth + 1, id="é" * 100))
    except Exception as error:
        return f"{depth}: {error}"


@in_loop
async def test_ids_that_are_too_long_together_fail_the_call() -> None:
    async with AppOn(MemoryStore(), workflows=[nests], policy=Policy(child_depth=20)) as app:
        result = (await (await app.start(nests, 0, run_id="r1")).result()).unwrap()
        assert result.startswith("4: run id")
        assert result.endswith("is longer than 1000 bytes")
