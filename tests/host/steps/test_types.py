"""What crosses keeps its type, from step to step: what pydantic reads back from its own JSON comes back as it was."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import ipaddress
import logging
import re
import typing
import uuid
import zoneinfo
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    RootModel,
    SecretStr,
    computed_field,
)
from support.apps import in_loop

from cloche import Cloche, RunResult, StepContext, Workflow, create_workflow, step


async def ended(workflow: Workflow, data: Any = None) -> RunResult:
    async with Cloche("memory:", workflows=[workflow]) as app:
        return await (await app.start(workflow, data)).result()


async def handed_on(value: Any, kind: Any, guest: Any = "javascript") -> Any:
    """What a step that takes a `kind` gets of a step that gives `value`."""
    seen = []

    @step(output_schema=kind)
    async def give(data: Any) -> Any:
        return value

    @step(input_schema=kind)
    async def take(data: Any) -> None:
        seen.append(data)

    result = await ended(create_workflow(id="w", guest=guest).then(give).then(take).commit())
    assert result.status == "success", result.error
    return seen[0]


class Phase(enum.StrEnum):
    OPEN = "open"
    DONE = "done"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Point(typing.NamedTuple):
    x: int
    at: dt.datetime


class Page(BaseModel):
    url: HttpUrl


class Host(BaseModel):
    ip: ipaddress.IPv4Address


class Queue(BaseModel):
    items: collections.deque[int]


class Rule(BaseModel):
    pattern: re.Pattern[str]


class Signal(BaseModel):
    amplitude: complex


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    id: uuid.UUID
    due: dt.date | None
    price: Decimal
    wait: dt.timedelta
    parts: tuple[int, ...]
    tags: frozenset[str]
    level: Level


class Aliased(BaseModel):
    one: int = Field(alias="uno")
    two: int = Field(validation_alias="due")
    three: int = Field(serialization_alias="tre")
    four: int = Field(validation_alias=AliasChoices("quattro", "vier"), serialization_alias="four!")
    five: int = Field(validation_alias=AliasPath("more", 1))


class Keyed(BaseModel):
    by_id: dict[uuid.UUID, int]
    by_level: dict[Level, str]
    by_day: dict[dt.date, list[int]]
    by_number: dict[int, str]


class When(BaseModel):
    value: dt.date | dt.datetime


class Basket(BaseModel):
    model_config = ConfigDict(extra="forbid")
    price: int
    count: int

    @computed_field
    def total(self) -> int:
        return self.price * self.count


class Tree(BaseModel):
    name: str
    below: list[Tree] = []


class Amounts(RootModel[dict[str, Decimal]]):
    pass


ID = uuid.UUID("0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f")
MODELS = [
    Page(url=HttpUrl("https://one.example/a")),
    Host(ip=ipaddress.IPv4Address("10.0.0.1")),
    Queue(items=collections.deque([1, 2])),
    Rule(pattern=re.compile("a+")),
    Signal(amplitude=1 + 2j),
    Strict(
        id=ID,
        due=dt.date(2026, 1, 2),
        price=Decimal("1.50"),
        wait=dt.timedelta(days=1, microseconds=5),
        parts=(1, 2),
        tags=frozenset({"a"}),
        level=Level.HIGH,
    ),
    Aliased.model_validate({"uno": 1, "due": 2, "three": 3, "vier": 4, "more": [0, 5]}),
    Keyed(by_id={ID: 1}, by_level={Level.LOW: "a"}, by_day={dt.date(2026, 1, 1): [2]}, by_number={7: "b"}),
    When(value=dt.datetime(2026, 1, 1)),
    When(value=dt.date(2026, 1, 1)),
    Basket(price=5, count=2),
    Tree(name="a", below=[Tree(name="b")]),
    Amounts({"a": Decimal("1.10")}),
]


@pytest.mark.parametrize("guest", ["javascript", "python"])
@pytest.mark.parametrize("value", MODELS, ids=lambda value: type(value).__name__)
@in_loop
async def test_a_model_arrives_as_it_was(value: BaseModel, guest: str) -> None:
    seen = await handed_on(value, type(value), guest)
    assert seen == value
    assert type(seen) is type(value)
    if isinstance(value, When):
        assert isinstance(seen, When)
        assert type(seen.value) is type(value.value)


PLACE = zoneinfo.ZoneInfo("Europe/Berlin")


def _named(one: Any) -> str:
    """The same in each process: a set has no order."""
    return re.sub(r"\W+", "_", str(sorted(map(str, one)) if isinstance(one, set | frozenset) else one))[:40]


PLAIN: list[tuple[Any, Any]] = [
    (Decimal("1.50"), Decimal),
    (ID, uuid.UUID),
    (Phase.DONE, Phase),
    (Level.HIGH, Level),
    (dt.date(2026, 1, 1), dt.date),
    (dt.time(1, 2, 3, 4), dt.time),
    (dt.timedelta(microseconds=-1), dt.timedelta),
    (dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC), dt.datetime),
    (dt.datetime(2026, 3, 29, 1, 30, tzinfo=PLACE), dt.datetime),
    (Point(1, dt.datetime(2026, 1, 1, 2, 3)), Point),
    ({Phase.OPEN, Phase.DONE}, set[Phase]),
    ((1, Decimal("2")), tuple[int, Decimal]),
    ({ID: {Level.LOW: 1}}, dict[uuid.UUID, dict[Level, int]]),
    ([None, dt.date(2026, 1, 1)], list[dt.date | None]),
    (Level.LOW, Annotated[Phase | Level, "one of two"]),
]


@pytest.mark.parametrize("guest", ["javascript", "python"])
@pytest.mark.parametrize(("value", "kind"), PLAIN, ids=_named)
@in_loop
async def test_a_value_arrives_as_its_annotation_says(value: Any, kind: Any, guest: str) -> None:
    seen = await handed_on(value, kind, guest)
    assert seen == value
    assert type(seen) is type(value)
    if isinstance(value, dt.datetime) and value.tzinfo is PLACE:
        assert seen.tzinfo == PLACE


@pytest.mark.parametrize("guest", ["javascript", "python"])
@in_loop
async def test_a_time_without_an_annotation_keeps_its_microseconds(guest: str) -> None:
    row = {"changed": dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)}
    assert await handed_on(row, Any, guest) == row


@dataclasses.dataclass
class Parcel:
    weight: int
    unit: dataclasses.InitVar[str]
    LOG: typing.ClassVar[logging.Logger] = logging.getLogger("parcel")
    KIND: typing.ClassVar[str] = "parcel"

    def __post_init__(self, unit: str) -> None:
        if unit == "kg":
            self.weight *= 1000


@in_loop
async def test_only_fields_of_a_dataclass_are_data() -> None:
    @step
    async def weigh(data: Any) -> Any:
        return Parcel(2, "kg")

    result = await ended(create_workflow(id="w").then(weigh).commit())
    assert (result.status, result.result) == ("success", {"weight": 2000})
    parcel = await handed_on(Parcel(2, "kg"), Parcel)
    assert (type(parcel), parcel.weight) == (Parcel, 2000)


# ── what is of another type ─────────────────────────────────────────────────────────────────────────────────────────
class Total(BaseModel):
    sum: int


@in_loop
async def test_a_step_that_returns_another_type_fails() -> None:
    @step
    async def wrong(data: Any) -> Total:
        return {"summe": 3}  # type: ignore[return-value]

    result = await ended(create_workflow(id="w").then(wrong).commit())
    assert result.error is not None
    assert (result.status, result.error.name, result.error.step) == ("failed", "InvalidInput", "wrong")
    assert result.error.message == "the result of step 'wrong' does not fit its schema: sum: Field required"


@in_loop
async def test_what_a_step_returns_becomes_what_it_says() -> None:
    @step
    async def total(data: Any) -> Total:
        return {"sum": "3"}  # type: ignore[return-value]

    @step
    async def price(data: Any) -> float:
        return 3

    result = await ended(create_workflow(id="w").then(total).commit())
    assert (result.result, result.steps["total"].output) == ({"sum": 3}, Total(sum=3))
    assert repr((await ended(create_workflow(id="w", guest="python").then(price).commit())).result) == "3.0"


@in_loop
async def test_a_workflow_that_returns_another_type_fails() -> None:
    @step
    async def some(data: Any) -> Any:
        return {"summe": 3}

    result = await ended(create_workflow(id="w", output_schema=Total).then(some).commit())
    assert result.error is not None
    assert (result.status, result.error.name) == ("failed", "InvalidResult")
    assert result.error.message == "the result of workflow 'w' does not fit its schema: sum: Field required"
    loose = create_workflow(id="w", output_schema=Total, validate_outputs=False).then(some).commit()
    assert (await ended(loose)).status == "success"


@in_loop
async def test_a_secret_is_refused_with_advice() -> None:
    class Login(BaseModel):
        password: SecretStr

    @step
    async def log_in(data: Any) -> Any:
        return Login(password=SecretStr("x"))

    result = await ended(create_workflow(id="w").then(log_in).commit())
    assert result.error is not None
    assert "what crosses is recorded, and a secret must not be" in result.error.message
    assert "result.password" in result.error.message


@in_loop
async def test_keys_that_are_no_texts_need_an_annotation() -> None:
    @step
    async def counts(data: Any) -> Any:
        return {1: "a"}

    result = await ended(create_workflow(id="w").then(counts).commit())
    assert result.error is not None
    assert "only text keys can cross" in result.error.message


# ── state ───────────────────────────────────────────────────────────────────────────────────────────────────────────
class State(BaseModel):
    phase: Phase
    at: dt.datetime | None = None
    count: int = 0


@pytest.mark.parametrize("where", ["step", "workflow"])
@in_loop
async def test_state_has_the_types_of_its_schema(where: str) -> None:
    seen: list[Any] = []
    of_step = State if where == "step" else None

    @step(state_schema=of_step)
    async def mark(data: Any, ctx: StepContext) -> None:
        ctx.set_state(phase=Phase.DONE, at=dt.datetime(2026, 1, 1, 12))
        ctx.update_state(lambda state: {"was": state["phase"] is Phase.DONE})

    @step(state_schema=of_step)
    async def look(data: Any, ctx: StepContext) -> None:
        seen.append(dict(ctx.state))

    workflow = (
        create_workflow(id="w", state_schema=State if where == "workflow" else None).then(mark).then(look).commit()
    )
    assert (await ended(workflow)).status == "success"
    assert seen == [{"phase": Phase.DONE, "at": dt.datetime(2026, 1, 1, 12), "was": True}]
    assert type(seen[0]["phase"]) is Phase


@in_loop
async def test_state_of_another_type_fails_the_step_that_looks() -> None:
    @step
    async def spoil(data: Any, ctx: StepContext) -> None:
        ctx.update_state(lambda state: {"phase": "lost"})

    @step(state_schema=State)
    async def look(data: Any, ctx: StepContext) -> None:
        raise AssertionError("it never runs")

    result = await ended(create_workflow(id="w").then(spoil).then(look).commit())
    assert result.error is not None
    assert (result.error.step, result.error.name) == ("look", "InvalidInput")
    assert "the state does not fit its schema: phase: " in result.error.message


# ---- what a step looks up ------------------------------------------------------------------------------------------------


class Asked(BaseModel):
    why: str


@pytest.mark.parametrize("is_nested", [False, True])
@in_loop
async def test_what_a_step_looks_up_has_its_type(is_nested: bool) -> None:
    """Results of steps, the input of its workflow, and what it suspended with."""
    seen: list[Any] = []

    @step
    async def total(data: Total) -> Total:
        return Total(sum=data.sum + 1)

    @step(suspend_schema=Asked)
    async def looks(data: Any, ctx: StepContext) -> None:
        seen.append([ctx.get_init_data(), ctx.get_step_result("total"), await ctx.step_result(total), ctx.suspend_data])
        if ctx.suspend_data is None:
            ctx.suspend(Asked(why="sure?"))

    made = create_workflow(id="inner", input_schema=Total).then(total).then(looks).commit()
    flow = create_workflow(id="w", input_schema=Total).then(made).commit() if is_nested else made
    async with Cloche("memory:", workflows=[flow]) as app:
        run = await app.start(flow, Total(sum=1))
        await run.result()
        await run.resume()
        assert (await run.result()).status == "success"
    found = [Total(sum=1), Total(sum=2), Total(sum=2)]
    assert seen == [[*found, None], [*found, Asked(why="sure?")]]


@in_loop
async def test_a_result_that_its_step_would_give_no_more_stays_as_it_crossed() -> None:
    seen: list[Any] = []

    @step
    async def odd(data: Any) -> Total:
        return {"summe": 3}  # type: ignore[return-value]

    @step
    async def looks(data: Any, ctx: StepContext) -> None:
        seen.append(ctx.get_step_result(odd))

    flow = create_workflow(id="w", validate_outputs=False).then(odd).then(looks).commit()
    assert (await ended(flow)).status == "success"
    assert seen == [{"summe": 3}]
