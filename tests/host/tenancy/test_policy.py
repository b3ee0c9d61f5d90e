"""Every bound of a policy, met from inside a guest: a typed error that says which, recorded once, and replayed alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, Submitted, javascript, python
from pydantic import ValidationError
from support.apps import KEY, AppOn, ManualWorld, in_loop
from support.guests import needs_python

from cloche import Grant, Limits, Policy, StepContext, Workflow, clone_step, code, create_step, create_workflow
from cloche.engines import CellSource, ProcessEngine, SandboxEngine
from cloche.errors import ForeignFile, LimitExceeded
from cloche.history import Kind
from cloche.sandbox.engine import NATIVE_STACK_BYTES
from cloche.store import MemoryCheckpoints, MemoryStore, all_records

BIG = "x" * 3_000


async def same(data: Any) -> Any:
    return data


async def suspends(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({}, resume_label="l" * 100)
    return data


async def begets(data: Any, ctx: StepContext) -> Any:
    return (await ctx.start_child("main", data)).id


STEPS = [
    create_step(id="same", execute=same),
    create_step(id="big", execute=lambda data: BIG),
    create_step(id="suspends", execute=suspends),
    create_step(id="begets", execute=begets),
]


@dataclass(frozen=True)
class Case:
    """A policy with one narrow bound, and JavaScript that goes beyond it: the run's end, or the failure of a call."""

    value: Any
    body: str
    name: str = "LimitExceeded"
    ends: Kind = Kind.RUN_STOPPED
    asked: Any = None
    given: dict[str, Any] = field(default_factory=dict)


CALLS = "for (let i = 0; i < 50; i++) await step('same')(i);"
AT_ONCE = "await Promise.all(Array.from({ length: 9 }, (_, i) => step('same')(i)));"
SLEEPS = "const { sleep } = globalThis.cloche; await Promise.all([1, 2, 3].map((i) => sleep('s' + i, 9e6, 0)));"
WAITS = "const { waitForEvent } = globalThis.cloche; await Promise.all([1, 2, 3].map((i) => waitForEvent('w' + i, 'go', 0)));"

CASES: dict[str, Case] = {
    "fuel_per_event": Case(20_000_000, "for (;;) {}", "FuelExhausted"),
    "fuel_per_load": Case(10_000_000, "} for (let i = 0; i < 1e6; i++); {", "FuelExhausted"),
    "fuel_per_run": Case(30_000_000, f"for (let i = 0; i < 99; i++) {{ for (let k = 0; k < 1e5; k++); {CALLS} }}"),
    "wall_ms_per_event": Case(30, "for (;;) {}", "TimeExhausted", given={"fuel_per_event": 10**15}),
    "memory_bytes": Case(24 << 20, "const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1));", "MemoryExhausted"),
    "image_bytes": Case(8_192, "return 1;"),
    "events_per_run": Case(40, CALLS),
    "log_bytes_per_run": Case(2_000, CALLS),
    "commands_per_event": Case(50, "for (let i = 0; i < 99; i++) console.log(i);", asked=51),
    "console_bytes": Case(500, "for (let i = 0; i < 99; i++) console.log('hello ' + i);"),
    "payload_bytes": Case(2_000, "await step('same')('x'.repeat(3000));"),
    "value_depth": Case(5, "await step('same')([[[[[[[[1]]]]]]]]);"),
    "value_items": Case(50, "await step('same')(Array(99).fill(1));"),
    "id_bytes": Case(100, "await step('n'.repeat(200))(1);"),
    "pending_steps": Case(8, AT_ONCE, asked=9),
    "timers": Case(2, SLEEPS, asked=3),
    "hooks": Case(2, WAITS, asked=3),
    "label_bytes": Case(50, ("await step('suspends')(1);"), ends=Kind.RUN_FAILED, asked=100),
    "steps": Case([{"step": "big"}], ("await step('same')(1);"), "NotGranted", ends=Kind.RUN_FAILED, asked="same"),
    "child_workflows": Case(["other"], "await step('begets')(1);", "NotGranted", ends=Kind.RUN_FAILED, asked="main"),
    "children": Case(1, ("await step('begets')(1); await step('begets')(1);"), ends=Kind.RUN_FAILED, asked=2),
    "child_depth": Case(0, ("await step('begets')(1);"), ends=Kind.RUN_FAILED, asked=1),
}


@pytest.mark.parametrize("mode", ENGINES)
@pytest.mark.parametrize("limit", CASES)
def test_a_bound_that_is_met_is_named_recorded_and_replayed(limit: str, mode: Mode) -> None:
    case = CASES[limit]

    @in_loop
    async def live() -> None:
        policy = Policy.model_validate(
            {"memory_bytes": 64 << 20, "fuel_per_event": 10**9, **case.given, limit: case.value}
        )
        store = MemoryStore()
        workflow = create_workflow(id="main", guest="javascript").then(STEPS[0]).commit()
        calm = create_workflow(id="calm", guest="javascript").then(STEPS[0]).commit()
        engine = Submitted(ENGINES[mode](Limits()), javascript(case.body))
        async with AppOn(
            store, workflows=[workflow], steps=STEPS, engine=engine, policy=policy, world=ManualWorld()
        ) as app:
            result = await (await app.start("main", 1, run_id="r1")).result()
            assert result.status == "failed"
            error = result.error
            assert error is not None
            assert error.name == case.name
            assert error.data["limit"] == limit
            _compare(policy, limit, error.data, case)
            *_, last = await all_records(store, (await app.get("r1"))._key)
            assert last.kind is case.ends
            assert (await app.replay("r1")).ok
            assert (await app.verify()).ok
        async with AppOn(store, workflows=[calm], steps=STEPS, tenant="neighbour") as app:
            assert (await (await app.start("calm", 7)).result()).unwrap() == 7

    live()


def _compare(policy: Policy, limit: str, data: dict[str, Any], case: Case) -> None:
    value = getattr(policy, limit)
    if limit == "steps":
        assert data["value"] == [grant.step for grant in value]
    else:
        assert data["value"] == (list(value) if isinstance(value, tuple) else value)
    if case.asked is not None:
        assert data["asked"] == case.asked
    elif isinstance(value, int) and "asked" in data:
        assert data["asked"] > value


PYTHON = {
    "events_per_run": (40, "for i in range(50):\n    await step('same')(i)"),
    "commands_per_event": (50, "for i in range(99):\n    print(i)"),
    "console_bytes": (500, "for i in range(99):\n    print('hello', i)"),
    "payload_bytes": (2_000, "await step('same')('x' * 3000)"),
    "value_items": (50, "await step('same')([1] * 99)"),
    "pending_steps": (8, "await gather(*[step('same')(i) for i in range(9)])"),
    "id_bytes": (100, "await step('n' * 200)(1)"),
}


@pytest.mark.parametrize("limit", PYTHON)
def test_the_python_guest_meets_the_same_bounds(limit: str) -> None:
    needs_python()
    value, body = PYTHON[limit]

    @in_loop
    async def live() -> None:
        policy = Policy.model_validate({limit: value})
        workflow = create_workflow(id="main", guest="python").then(STEPS[0]).commit()
        engine = Submitted(SandboxEngine(), python(body))
        async with AppOn(MemoryStore(), workflows=[workflow], steps=STEPS, engine=engine, policy=policy) as app:
            error = (await (await app.start("main", 1, run_id="r1")).result()).error
            assert error is not None
            assert (error.name, error.data["limit"], error.data["value"]) == ("LimitExceeded", limit, value)
            assert (await app.replay("r1")).ok

    live()


CELL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "fuel_per_event": ("for (;;) {}", "FuelExhausted", {"value": 500_000_000}),
    "memory_bytes": ("const a = []; for (;;) a.push('x'.repeat(1 << 20) + a.length);", "MemoryExhausted", {"value": 40 << 20}),
    "event_output_bytes": ("for (;;) console.log('x'.repeat(10_000));", "OutputTooLarge", {"value": 6 << 20}),
    "event_commands": (
        "for (let i = 0; i < 100_001; i++) console.log(i);",
        "OutputTooLarge",
        {"value": 100_000, "asked": 100_001},
    ),
}  # fmt: skip


@pytest.mark.parametrize("limit", CELL)
def test_what_a_cell_is_stopped_by_is_recorded_alike_in_each_mode_and_after_a_crash(limit: str) -> None:
    """Met behind a step: in a turn of one event, in a process, and in a life that only rebuilds the run."""
    body, name, facts = CELL[limit]
    fuel = 500_000_000 if limit == "fuel_per_event" else 10**10
    policy = Policy(fuel_per_event=fuel, memory_bytes=40 << 20)
    source = javascript(f"await step('same')(1); await step('suspends')(2); {body}")
    workflow = create_workflow(id="w", guest="javascript").then(STEPS[0]).commit()

    @in_loop
    async def met(cells: CellSource, crash: bool, failures: list[tuple[str, str, Any]]) -> None:
        store, engine = MemoryStore(), Submitted(cells, source)
        async with AppOn(store, workflows=[workflow], steps=STEPS, engine=engine, policy=policy) as app:
            assert (await (await app.start("w", 1, run_id="r1")).result()).status == "suspended"
            if crash:
                await app.vanish()
        async with AppOn(store, workflows=[workflow], steps=STEPS, engine=engine, policy=policy) as app:
            error = (await app.resume("r1", resume_data=1)).error
            assert error is not None
            failures.append((error.name, error.message, error.data))
            assert (await app.replay("r1")).ok

    failures: list[tuple[str, str, Any]] = []
    met(SandboxEngine(), False, failures)
    met(SandboxEngine(), True, failures)
    met(ProcessEngine(), True, failures)
    assert failures == [failures[0]] * 3
    assert (failures[0][0], failures[0][2]) == (name, {"limit": limit, **facts})


@in_loop
async def test_the_native_stack_is_a_bound_of_its_own() -> None:
    needs_python()
    workflow = create_workflow(id="main", guest="python").then(STEPS[0]).commit()
    engine = Submitted(SandboxEngine(), python("import json\nreturn json.loads('[' * 100_000 + ']' * 100_000)"))
    async with AppOn(MemoryStore(), workflows=[workflow], engine=engine) as app:
        error = (await (await app.start("main", 1)).result()).error
        assert error is not None
        assert (error.name, error.data) == (
            "StackExhausted", {"limit": "native_stack_bytes", "value": NATIVE_STACK_BYTES},
        )  # fmt: skip


def _asking() -> Workflow:
    return create_workflow(id="w").then(STEPS[2]).then(STEPS[0]).commit()


@in_loop
async def test_source_bytes_are_counted_before_anything_is_stored() -> None:
    long = create_workflow(id="w").map({"v": code(json.dumps("x" * 5_000))}).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[long], policy=Policy(source_bytes=4_000)) as app:
        with pytest.raises(LimitExceeded, match="source_bytes") as raised:
            await app.start("w", 1)
    assert (raised.value.limit, raised.value.value, await store.runs()) == ("source_bytes", 4_000, [])


@in_loop
async def test_payload_bytes_hold_for_what_comes_in_as_well() -> None:
    store = MemoryStore()
    workflows = [_asking(), create_workflow(id="big").then(STEPS[1]).commit()]
    async with AppOn(store, workflows=workflows, policy=Policy(payload_bytes=2_000)) as app:
        with pytest.raises(LimitExceeded, match="its input goes beyond payload_bytes"):
            await app.start("w", BIG)
        run = await app.start("w", 1)
        assert (await run.result()).status == "suspended"
        with pytest.raises(LimitExceeded, match="what it is given goes beyond payload_bytes"):
            await run.resume(resume_data=BIG)
        await run.resume(resume_data=2)
        assert (await run.result()).unwrap() == 1
        error = (await (await app.start("big", 1)).result()).error
        assert error is not None
        assert (error.name, error.step, error.data["limit"]) == ("LimitExceeded", "big", "payload_bytes")


@in_loop
async def test_checkpoint_bytes_leave_a_larger_one_unwritten_and_the_run_as_it_is() -> None:
    kept: dict[int, int] = {}
    for most in (50, 1 << 20):
        checkpoints = MemoryCheckpoints()
        chain = create_workflow(id="w")
        for number in range(30):
            chain.then(clone_step(STEPS[0], id=f"s{number}"))
        app = AppOn(
            MemoryStore(),
            checkpoints,
            workflows=[chain.then(STEPS[2]).commit()],
            policy=Policy(checkpoint_bytes=most),
            checkpoint_every=5,
        )
        async with app:
            assert (await (await app.start("w", 1, run_id="r1")).result()).status == "suspended"
        kept[most] = await checkpoints.get(KEY) is not None
    assert kept == {50: False, 1 << 20: True}


@in_loop
async def test_run_lifetime_s_ends_a_run_that_moves_after_it() -> None:
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[_asking()], policy=Policy(run_lifetime_s=86_400), world=world) as app:
        young, old = await app.start("w", 1, run_id="young"), await app.start("w", 1, run_id="r1")
        assert (await old.result()).status == "suspended"
        world.move(86_400)
        assert (await app.resume("young", resume_data=1)).unwrap() == 1
        world.move(2)
        error = (await app.resume("r1", resume_data=1)).error
        assert error is not None
        assert error.data == {"asked": 86_402, "limit": "run_lifetime_s", "value": 86_400}
        assert (await app.replay("r1")).ok
    assert young.id == "young"


@in_loop
async def test_fuel_of_a_run_is_not_topped_up_by_rebuilding_it() -> None:
    """Each life of the run computes less than the bound; all of them together more."""
    source = javascript("for (let i = 0; i < 9; i++) { for (let k = 0; k < 2e5; k++); await step('suspends')(i); }")
    for lives in (1, 9):
        store, workflow = MemoryStore(), create_workflow(id="w").then(STEPS[2]).commit()
        engine, ended = Submitted(SandboxEngine(), source), ""
        for life in range(9):
            async with AppOn(store, workflows=[workflow], engine=engine, policy=Policy(fuel_per_run=60_000_000)) as app:
                for _ in range(9 // lives):
                    if life == 0 and not await store.runs():
                        await app.start("w", 1, run_id="r1")
                    result = await (await app.get("r1")).result()
                    if result.status == "suspended":
                        result = await app.resume("r1", resume_data=1)
                    ended = result.error.name if result.error else result.status
            if lives == 1:
                break
        assert ended == "LimitExceeded", lives


@in_loop
async def test_a_refused_call_is_refused_once_and_not_asked_again_when_the_run_is_replayed() -> None:
    """What was allowed stays done: the policy of a run is that of its first record, whatever the app has now."""
    store = MemoryStore()
    caught = javascript("try { await step('same')(1); } catch (e) { return (await step('big')(e.name)).length; }")
    workflow = create_workflow(id="w").then(STEPS[0]).commit()
    engine = Submitted(SandboxEngine(), caught)
    async with AppOn(
        store, workflows=[workflow], steps=STEPS, engine=engine, policy=Policy(steps=(Grant(step="big"),))
    ) as app:
        assert (await (await app.start("w", 1, run_id="r1")).result()).unwrap() == len(BIG)
    async with AppOn(store, workflows=[workflow], steps=STEPS, engine=engine) as app:
        assert (await app.replay("r1")).ok
        assert (await (await app.start("w", 1)).result()).unwrap() is None


@in_loop
async def test_a_grant_may_say_what_the_input_must_be() -> None:
    policy = Policy(steps=(Grant(step="same", arguments={"to": ("a@example.org", 1)}),))
    workflow = create_workflow(id="w").then(STEPS[0]).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], policy=policy) as app:
        for given, fine in (({"to": 1, "x": 2}, True), ({"to": True}, False), ({}, False), ("a@example.org", False)):
            assert ((await (await app.start("w", given)).result()).status == "success") is fine


@in_loop
async def test_a_step_that_is_not_there_and_one_that_is_not_granted_fail_alike() -> None:
    failures = []
    for asked in ("same", "nowhere"):
        engine = Submitted(SandboxEngine(), javascript(f"await step('{asked}')(1);"))
        workflow = create_workflow(id="w").then(STEPS[0]).commit()
        policy = Policy(steps=(Grant(step="big"),))
        async with AppOn(MemoryStore(), workflows=[workflow], engine=engine, policy=policy) as app:
            error = (await (await app.start("w", 1)).result()).error
            assert error is not None
            failures.append((error.name, error.message.replace(asked, "it"), {**error.data, "asked": "it"}))
    assert failures[0] == failures[1]


@in_loop
async def test_each_tenant_has_its_own_policy() -> None:
    workflow = create_workflow(id="w").then(STEPS[0]).commit()
    policies = {"small": Policy(payload_bytes=2_000)}
    async with AppOn(MemoryStore(), workflows=[workflow], policies=policies) as app:
        with pytest.raises(LimitExceeded):
            await app.tenant("small").start("w", BIG)
        assert (await (await app.tenant("large").start("w", BIG)).result()).unwrap() == BIG


@in_loop
async def test_a_run_from_a_file_brings_no_policy_that_is_wider_than_the_tenants_own() -> None:
    workflow = _asking()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        assert (await (await app.start("w", 1, run_id="r1")).result()).status == "suspended"
        file = await app.export("r1")
    narrow = [
        Policy(timers=3),
        Policy(steps=(Grant(step="suspends"),)),
        Policy(child_workflows=()),
        Policy(memory_bytes=1 << 25),
    ]
    for policy in narrow:
        store = MemoryStore()
        async with AppOn(store, workflows=[workflow], policies={"default": policy}) as app:
            with pytest.raises(ForeignFile, match="was promised"):
                await app.import_(file)
        assert await store.runs() == []
    async with AppOn(MemoryStore(), workflows=[workflow], policy=Policy(host_closures=True)) as app:
        await app.import_(file)
        assert (await app.resume("r1", resume_data=1)).unwrap() == 1


def test_wider_is_what_allows_more() -> None:
    base = Policy(timers=5, steps=(Grant(step="a"),))
    assert base.wider_than(base) is None
    assert Policy(timers=4, steps=()).wider_than(base) is None
    assert Policy(timers=6, steps=(Grant(step="a"),)).wider_than(base) == "timers"
    assert Policy(timers=5).wider_than(base) == "steps"
    assert Policy(timers=5, steps=(Grant(step="a"), Grant(step="b"))).wider_than(base) == "steps"


def test_every_field_has_a_unit_and_a_reason() -> None:
    for limit in Policy.described():
        assert limit.counts, limit.name
        assert limit.why.endswith("."), limit.name
        assert Policy.model_validate({}).model_dump()[limit.name] == limit.default


def test_a_policy_is_frozen_strict_and_refuses_what_it_does_not_know() -> None:
    wrong = {"timers": 0}, {"timers": True}, {"timers": 1.5}, {"timer": 1}, {"value_depth": 65}
    for refused in (*wrong, {"value_depth": "5"}, {"child_depth": True}, {"host_closures": "yes"}):
        with pytest.raises(ValidationError):
            Policy.model_validate(refused)
    with pytest.raises(ValidationError):
        Policy().timers = 1  # type: ignore[misc]
    narrow = Policy(timers=3, steps=(Grant(step="a", arguments={"b": (1,)}),), memory_bytes=1 << 25)
    assert Policy.of(narrow.limits().to_data(), narrow.pinned()) == narrow
    assert Policy().pinned() == {}
