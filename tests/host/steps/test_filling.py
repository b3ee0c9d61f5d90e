"""Inputs that a schema draws something into: made once for a call, and the same in each of its attempts."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from support.apps import KEY, AppOn, ManualWorld, in_loop, until

from cloche import Policy, StepContext, Workflow, create_step, create_workflow
from cloche.history import Kind
from cloche.store import MemoryCheckpoints, MemoryStore, all_records
from cloche.tenancy import Grant
from cloche_codegen.schemas import draws


class Order(BaseModel):
    sku: str
    trace_id: uuid.UUID = Field(default_factory=uuid.uuid4)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Lines(BaseModel):
    skus: list[str] = Field(default_factory=list)


class Basket(BaseModel):
    orders: list[Order] = Field(default_factory=list)


SKU = {"sku": "bolt"}


class Seen:
    """A step that fails until its last attempt, and what each attempt was given."""

    def __init__(self, tries: int = 3, **options: Any) -> None:
        self.given: list[Order] = []

        async def pay(order: Order, ctx: StepContext) -> int:
            self.given.append(order)
            if len(self.given) < tries:
                raise ConnectionError("again")
            return 1

        self.step = create_step(id="pay", execute=pay, **{"retries": 2, **options})

    @property
    def workflow(self) -> Workflow:
        return create_workflow(id="w").then(self.step).commit()

    @property
    def ids(self) -> set[uuid.UUID]:
        return {order.trace_id for order in self.given}


@in_loop
async def test_every_attempt_of_a_call_is_given_the_same_input() -> None:
    seen = Seen()
    async with AppOn(MemoryStore(), workflows=[seen.workflow]) as app:
        run = await app.start("w", SKU)
        assert (await run.result()).status == "success"
        kinds = [record.kind for record in await run.history()]
    assert (len(seen.given), len(seen.ids)) == (3, 1)
    assert kinds.count(Kind.ATTEMPT_STARTED) == 3


@in_loop
async def test_a_request_that_is_made_again_is_the_same_run() -> None:
    """What the schema of the workflow draws is no part of the request."""
    placed: list[Order] = []

    async def place(order: Order) -> str:
        placed.append(order)
        return str(order.trace_id)

    step = create_step(id="place", execute=place)
    workflow = create_workflow(id="w", input_schema=Order).then(step).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        first, again = [await (await app.start("w", SKU, run_id="r1")).result() for _ in range(2)]
    assert [first.result, again.result] == [str(order.trace_id) for order in placed] * 2


@in_loop
async def test_what_is_drawn_is_in_the_commit_of_the_call() -> None:
    """It costs no commit more, and the attempt begins after it."""
    store, seen = MemoryStore(), Seen(1)
    commits: list[list[Kind]] = []
    write = store.commit

    async def commit(appends: Any) -> Any:
        commits.append([record.kind for append in appends for record in append.records])
        return await write(appends)

    async def connect() -> MemoryStore:
        return store

    store.connect = connect  # type: ignore[method-assign]
    store.commit = commit  # type: ignore[method-assign]
    async with AppOn(store, workflows=[seen.workflow]) as app:
        await (await app.start("w", SKU)).result()
    assert [kinds[-2:] == [Kind.STEP_CALLED, Kind.ATTEMPT_STARTED] for kinds in commits] == [True, False]


@pytest.mark.parametrize("is_saved", [False, True], ids=["replayed", "from a checkpoint"])
@in_loop
async def test_an_attempt_after_a_crash_is_given_the_same_input(is_saved: bool) -> None:
    store, checkpoints, world = MemoryStore(), MemoryCheckpoints(), ManualWorld()
    seen = Seen(4, retries=3, retry_config={"delay_s": 3600})
    options: dict[str, Any] = {
        "workflows": [seen.workflow],
        "world": world,
        "checkpoint_every": 1 if is_saved else 1000,
    }
    for begins in range(1, 4):
        app: Any = AppOn(store, checkpoints, **options)
        await app.__aenter__()
        if begins == 1:
            await app.start("w", SKU, run_id="r1")
        await until(lambda begins=begins: len(seen.given) == begins)  # type: ignore[misc]
        await until(lambda app=app: not app._running.drivers)  # type: ignore[misc]
        await app.vanish()
        world.move(3600)
    async with AppOn(store, checkpoints, **options) as app:
        assert (await (await app.get("r1")).result()).status == "success"
    assert (len(seen.given), len(seen.ids)) == (4, 1)


@in_loop
async def test_a_resumed_step_is_given_the_same_input() -> None:
    given = []

    async def ask(order: Order, ctx: StepContext) -> int:
        given.append(order.trace_id)
        if ctx.resume_data is None:
            ctx.suspend()
        return 1

    workflow = create_workflow(id="w").then(create_step(id="ask", execute=ask)).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        run = await app.start("w", SKU)
        await run.result()
        assert (await run.resume(resume_data=1)).status == "success"
    assert len(given) == 2
    assert given[0] == given[1]


@in_loop
async def test_a_worker_that_did_not_have_the_step_records_it_first() -> None:
    """The one that recorded the call could not draw: who has the step draws, and waits for the record."""
    store, seen = MemoryStore(), Seen()
    code = create_workflow(id="w").then(seen.step).commit()
    async with AppOn(store, workflows=[code]) as app:
        app._running.registry._steps.clear()
        await app.start("w", SKU, run_id="r1")
        assert await (await app.get("r1")).status() == "blocked"
    async with AppOn(store, workflows=[code]) as app:
        assert (await (await app.get("r1")).result()).status == "success"
    begun = [record.content() for record in await all_records(store, KEY) if record.kind is Kind.ATTEMPT_STARTED]
    assert {content["filled"]["trace_id"] for content in begun} == {str(id) for id in seen.ids}
    assert len(seen.ids) == 1


@in_loop
async def test_a_grant_is_held_against_the_input_as_it_came() -> None:
    policy = Policy(steps=(Grant(step="pay", arguments={"sku": ("nut",)}),))
    seen = Seen()
    async with AppOn(MemoryStore(), workflows=[seen.workflow], policy=policy) as app:
        error = (await (await app.start("w", SKU)).result()).error
    assert error is not None
    assert (error.name, seen.given) == ("NotGranted", [])


@in_loop
async def test_input_that_does_not_fit_fails_its_step_as_ever() -> None:
    seen = Seen()
    async with AppOn(MemoryStore(), workflows=[seen.workflow]) as app:
        error = (await (await app.start("w", {"sku": 5})).result()).error
    assert error is not None
    assert error.message == "the input of step 'pay' does not fit its schema: sku: Input should be a valid string"


numbers = itertools.count()


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (Order, True),
        (Basket, True),
        (list[Order] | None, True),
        (Annotated[int, Field(default_factory=lambda: next(numbers))], True),
        (Lines, False),
        (dict[str, int], False),
        (int, False),
    ],
)
def test_a_schema_draws_if_a_factory_makes_more_than_something_empty(schema: Any, expected: bool) -> None:
    assert draws(TypeAdapter(schema)) is expected
