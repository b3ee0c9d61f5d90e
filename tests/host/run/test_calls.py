"""Steps and workflows of several parameters: native Python, the builder, JavaScript; on both engines where both can."""

from __future__ import annotations

import inspect
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel
from support.apps import KEY, AppOn, ManualWorld, in_loop, until
from support.guests import needs_python

import cloche
from cloche import Cloche, DirectEngine, StepContext, create_step, create_workflow, start_child, step, workflow
from cloche.engines import CellSource, SandboxEngine
from cloche.errors import InvalidInput
from cloche.history import Kind
from cloche.steps.binding import Arguments, Calls, Checks, bound
from cloche.store import MemoryStore, all_records
from cloche.tenancy import Policy
from cloche.testing import double
from cloche_codegen import Step

ENGINES: list[type[CellSource]] = [SandboxEngine, DirectEngine]


@step
async def add(a: int, b: int) -> int:
    return a + b


@step(id="charge-card")
async def charge(order: str, amount: int, /, *notes: str, currency: str = "EUR", ctx: StepContext, **more: int) -> Any:
    return [order, amount, list(notes), currency, more, ctx.step_id, ctx.input_data]


@step
def with_tip(amount: int, tip: int = 7) -> int:
    return amount + tip


@step
def nothing() -> str:
    return "nothing"


async def result_of(flow: Any, given: Any = None, **options: Any) -> Any:
    async with Cloche(workflows=[flow], **options) as app:
        return await (await app.start(flow, given)).result()


# ---- native ----


@workflow
async def calls(_: Any) -> Any:
    return [
        await add(40, 2),
        await add(a=40, b=2),
        await add(40, b=2),
        await with_tip(3),
        await with_tip(3, 4),
        await nothing(),
        await charge("o", 5),
        await charge("o", 5, "x", "y", currency="USD", rate=3),
    ]


@in_loop
async def test_arguments_arrive_by_position_and_by_name() -> None:
    needs_python()
    result = (await result_of(calls)).unwrap()
    assert result[:6] == [42, 42, 42, 10, 7, "nothing"]
    assert result[6][:6] == ["o", 5, [], "EUR", {}, "charge-card"]
    assert result[6][6] == {"order": "o", "amount": 5}
    assert result[7][:5] == ["o", 5, ["x", "y"], "USD", {"rate": 3}]


@workflow
async def too_many(_: Any) -> Any:
    return await add(1, 2, 3)  # type: ignore[call-arg]


@workflow
async def unknown(_: Any) -> Any:
    return await charge("o", 5, 6, c=1)


@workflow
async def of_another_type(_: Any) -> Any:
    return await add(1, "two")  # type: ignore[arg-type]


@in_loop
async def test_a_call_that_does_not_fit_is_a_type_error_with_its_line() -> None:
    needs_python()
    result = await result_of(too_many)
    assert (result.error.name, result.error.message) == (
        "TypeError",
        "add() takes 2 positional arguments but 3 were given",
    )
    result = await result_of(of_another_type)
    assert result.error.name == "InvalidInput"
    assert result.error.message.startswith("argument 'b' of step 'add' does not fit its schema")


@workflow
async def several(user: str, plan: str = "free", *, seats: int, given: Any) -> Any:
    return [user, plan, seats, sorted(given)]


@workflow
async def parent(_: Any) -> Any:
    return [await several("ann", seats=2), await several("bob", "pro", seats=3)]


@in_loop
async def test_a_workflow_takes_its_parameters_as_a_mapping() -> None:
    needs_python()
    assert (await result_of(several, {"user": "ann", "seats": "2"})).unwrap() == [
        "ann",
        "free",
        2,
        ["context", "state"],
    ]
    with pytest.raises(InvalidInput, match="seats: Field required"):
        await result_of(several, {"user": "ann"})


@in_loop
async def test_a_child_is_called_like_a_function() -> None:
    needs_python()
    store = MemoryStore()
    async with AppOn(store, workflows=[parent], world=ManualWorld()) as app:
        result = (await (await app.start("parent", None)).result()).unwrap()
    assert [one[:3] for one in result] == [["ann", "free", 2], ["bob", "pro", 3]]


@workflow
async def optional(name: str, plan: str = "free", *, seats: int = 1) -> str:
    return f"{name} {plan} {seats}"


class Order(BaseModel):
    order: str


@workflow
async def all_optional(a: int = 1, b: int = 2) -> list[int]:
    return [a, b]


@workflow
async def by_name_alone(**more: int) -> dict[str, int]:
    return dict(more)


@workflow
async def of_a_model(order: Order, tip: Decimal = Decimal(1), *notes: str, **more: int) -> Any:
    return [type(order).__name__, order.order, tip + 1, list(notes), more]


@workflow
async def asks_for_children(name: str) -> list[Any]:
    said: list[Any] = [
        await optional(name),
        await optional(name, "pro"),
        await optional(name=name, seats=2),
        await of_a_model(Order(order="o")),
        await of_a_model(Order(order="o"), Decimal(3), "a", "b", k=4),
        await start_child(optional, {"name": name, "seats": 3}),
        await start_child("optional", name),
    ]
    for wrong in (lambda: optional(), lambda: optional(name, size=2), lambda: start_child(cast("Any", add), name)):
        try:
            await wrong()
        except TypeError as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_no_argument_of_a_child_is_dropped(engine: Any) -> None:
    needs_python()
    flows: Any = [asks_for_children, optional, of_a_model]
    async with Cloche(workflows=flows, engine=engine()) as app:
        result = (await (await app.start(asks_for_children, "ann")).result()).unwrap()
    assert result == [
        "ann free 1",
        "ann pro 1",
        "ann free 2",
        ["Order", "o", "2", [], {}],
        ["Order", "o", "4", ["a", "b"], {"k": 4}],
        "ann free 3",
        "ann free 1",
        "optional() missing 1 required positional argument: 'name'",
        "optional() got an unexpected keyword argument 'size'",
        "start_child takes a workflow or its id, and this is a step: await it",
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("flow", "given", "result", "recorded"),
    [
        (optional, "ann", "ann free 1", "ann"),
        (optional, {"name": "ann", "seats": "2"}, "ann free 2", {"name": "ann", "seats": 2}),
        (of_a_model, {"order": "o"}, ["Order", "o", "2", [], {}], {"order": {"order": "o"}}),
        (of_a_model, Order(order="o"), ["Order", "o", "2", [], {}], {"order": {"order": "o"}}),
        (
            of_a_model,
            {"order": {"order": "o"}, "tip": 2, "notes": ["a"], "k": 1},
            ["Order", "o", "3", ["a"], {"k": 1}],
            {"order": {"order": "o"}, "tip": "2", "notes": ["a"], "k": 1},
        ),
        (all_optional, None, [1, 2], {}),
        (all_optional, {"b": 5}, [1, 5], {"b": 5}),
        (all_optional, 7, [7, 2], 7),
        (by_name_alone, {"b": 5}, {"b": 5}, {"b": 5}),
    ],
    ids=lambda one: getattr(one, "id", None),
)
@in_loop
async def test_an_input_is_one_value_or_parameters_by_name(
    engine: Any, flow: Any, given: Any, result: Any, recorded: Any
) -> None:
    needs_python()
    found = await result_of(flow, given, engine=engine())
    assert (found.unwrap(), found.input) == (result, recorded)


@in_loop
async def test_what_is_no_parameter_is_invalid_input() -> None:
    needs_python()
    with pytest.raises(InvalidInput, match="size: Extra inputs are not permitted"):
        await result_of(optional, {"name": "ann", "size": 2})
    with pytest.raises(InvalidInput, match="seats: Input should be a valid integer"):
        await result_of(optional, {"name": "ann", "seats": "many"})


@in_loop
async def test_deployed_code_takes_parameters_by_name_too() -> None:
    needs_python()
    source = "from cloche import workflow\n@workflow\nasync def w(x, tip=3, *, c=4): return [x, tip, c]"
    async with Cloche() as app:
        await app.deploy("acme", source, workflow="w", language="python")
        found = [
            (await (await app.tenant("acme").start("w", one)).result()).unwrap()
            for one in (1, {"x": 2, "tip": 5}, {"x": 2, "c": 5}, {"tip": 5})
        ]
    assert found == [[1, 3, 4], [2, 5, 4], [2, 3, 5], [{"tip": 5}, 3, 4]]


@workflow
async def forgets(amount: int) -> str:
    with_tip(amount)  # type: ignore[unused-coroutine]
    return "done"


@in_loop
async def test_a_step_that_nobody_awaits_fails_the_run() -> None:
    needs_python()
    result = await result_of(forgets, 5)
    assert result.status == "failed"
    function: Any = forgets.function
    _, line = inspect.getsourcelines(function)
    assert result.error.message == (
        f"test_calls.py:{line + 2}: 'with_tip' was called and never awaited, so it never ran: write await with_tip(...)"
    )
    assert f'File "test_calls.py", line {line + 2}, in forgets' in result.error.traceback


def waits(function: Any) -> Any:
    """A workflow that calls `later` after an event, which it waits for."""

    @workflow(id="w")
    async def flow(_: Any) -> Any:
        await cloche.wait_for_event("go")
        return await later(1)

    later = create_step(id="later", execute=function)
    _ = flow.graph
    return flow


@in_loop
async def test_a_new_parameter_with_a_default_breaks_no_open_run() -> None:
    needs_python()
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[waits(lambda a: a)], world=world) as app:
        await app.start("w", None, run_id=KEY.run)
        await until(lambda: store.run(KEY), lambda row: row is not None and row.status == "waiting")
    async with AppOn(store, workflows=[waits(lambda a, b=41: a + b)], world=world) as app:
        await app.send_event(KEY.run, "go", None)
        assert (await (await app.get(KEY.run)).result()).unwrap() == 42
    called = [record.content() for record in await all_records(store, KEY) if record.kind is Kind.STEP_CALLED]
    assert [one[4] for one in called] == [[1]]


# ---- the builder, JavaScript ----


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("guest", ["javascript", "python"])
def test_the_builder_gives_a_mapping_by_name(engine: type[CellSource], guest: Any) -> None:
    needs_python()

    @in_loop
    async def live() -> None:
        flow = create_workflow(id="w", guest=guest).map({"a": {"value": 40}, "b": {"value": 2}}).then(add).commit()
        assert (await result_of(flow, None, engine=engine())).unwrap() == 42
        flow = create_workflow(id="w", guest=guest).then(with_tip).then(nothing).commit()
        assert (await result_of(flow, 3, engine=engine())).unwrap() == "nothing"
        flow = create_workflow(id="w", guest=guest).then(add).commit()
        result = await result_of(flow, {"a": 1, "c": 2}, engine=engine())
        assert (result.error.name, result.error.data) == ("InvalidInput", None)
        assert "b: Field required; c: Extra inputs are not permitted" in result.error.message

    live()


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("step('add')(40, 2)", 42),
        ("step('with_tip')(3)", 10),
        ("step('with_tip')(3, 4)", 7),
        ("step('nothing')()", "nothing"),
        ("step('add')(1, 2, 3)", "add() takes 2 positional arguments but 3 were given"),
        ("step('add')(1)", "add() missing 1 required positional argument: 'b'"),
    ],
)
def test_javascript_passes_its_arguments(call: str, result: Any) -> None:
    @in_loop
    async def live() -> None:
        async with Cloche(steps=[add, with_tip, nothing], policy=Policy()) as app:
            source = f"const {{ step }} = cloche; export default async () => await {call};"
            version = await app.deploy("default", source, workflow="w", language="javascript")
            ended = await (await app.start(version)).result()
            assert result == (ended.result if ended.error is None else ended.error.message)

    live()


@in_loop
async def test_a_double_gets_several_arguments_by_name() -> None:
    from cloche.testing import TestApp

    doubled = double("add")
    flow = create_workflow(id="w").then(add).commit()
    async with TestApp(flow, doubles=[doubled]) as app:
        assert (await (await app.start("w", {"a": 1, "b": 2})).result()).unwrap() == 3
    assert doubled.inputs == [{"a": 1, "b": 2}]


# ---- binding ----


def bind(one: Step, calls: Calls, *arguments: Any, **keywords: Any) -> Any:
    context: Any = lambda data: ("ctx", data)  # noqa: E731
    return bound(one, Arguments(list(arguments), keywords), context, Checks(calls=calls))()


def two(a: int, b: Any) -> Any:
    return [a, b]


def test_a_call_of_an_old_run_is_bound_as_before() -> None:
    """Its first argument is all that was looked at, and the second parameter was the context, whatever it was called."""
    made = create_step(id="two", execute=two)
    assert bind(made, "first", 3, 4) == [3, ("ctx", 3)]
    assert bind(made, "call", 3, 4) == [3, 4]
    assert bind(with_tip, "first", 3, 4) == 10
    assert bind(create_step(id="n", execute=lambda data, ctx: [data, ctx]), "first") == [None, ("ctx", None)]
    assert bind(create_step(id="k", execute=lambda data, *, ctx: [data, ctx]), "first", 1) == [1, ("ctx", 1)]


def test_arguments_are_held_against_their_schemas() -> None:
    made = create_step(id="two", execute=two)
    assert bind(made, "call", "3", 4) == [3, 4]
    assert bound(made, Arguments(["x", 4]), lambda data: data, Checks(inputs=False, calls="call"))() == ["x", 4]
    with pytest.raises(InvalidInput, match="argument 'a' of step 'two' does not fit its schema"):
        bind(made, "call", "x", 4)


def test_a_schema_that_is_given_is_that_of_the_input() -> None:
    made = create_step(id="s", execute=lambda data, n=1: [data, n], input_schema=int)
    assert bind(made, "value", "3") == bind(made, "call", "3") == [3, 1]
    assert bind(replace(made, input_schema=None), "call", "3", n=2) == ["3", 2]
