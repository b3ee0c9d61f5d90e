"""Any value of any type that crosses: the same in the next step and in a native workflow, on each engine, after a restart."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import math
import typing
import uuid
from decimal import Decimal
from typing import Any, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from support.apps import run_in_loop
from support.guests import needs_python

import cloche
from cloche import Cloche, DirectEngine, RunResult, SandboxEngine, Step, Workflow, create_workflow, step
from cloche.store import MemoryStore

Values: TypeAlias = "st.SearchStrategy[Any]"
Kind: TypeAlias = "tuple[Any, Values]"  # an annotation, and values of it


class Phase(enum.StrEnum):
    OPEN = "open"
    DONE = "done"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    phase: Phase = Phase.OPEN


class Point(typing.NamedTuple):
    x: int
    at: dt.date


class Order(BaseModel):
    id: uuid.UUID = Field(alias="ID")
    total: Money
    wait: dt.timedelta | None
    by_level: dict[Level, dt.time] = Field(serialization_alias="levels")


money = st.builds(Money, st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(Phase))
times = st.times()
waits = st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999))
orders = st.builds(
    lambda id, total, wait, by_level: Order(ID=id, total=total, wait=wait, by_level=by_level),
    st.uuids(), money, st.none() | waits, st.dictionaries(st.sampled_from(Level), times, max_size=2),
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False).filter(lambda one: one != 0 or math.copysign(1, one) > 0)
KEYS: list[Kind] = [
    (str, texts), (int, st.integers()), (uuid.UUID, st.uuids()), (Level, st.sampled_from(Level)), (dt.date, st.dates()),
]  # fmt: skip
SCALARS: list[Kind] = [
    *KEYS, (bool, st.booleans()), (float, floats), (bytes, st.binary(max_size=8)), (Phase, st.sampled_from(Phase)),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)), (dt.time, times), (dt.timedelta, waits),
    (dt.datetime, st.datetimes()), (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))), (Money, money), (Order, orders),
    (Point, st.builds(Point, st.integers(), st.dates())),
]  # fmt: skip


a_list: Any = list  # their arguments are known at run time only
a_set: Any = set
a_tuple: Any = tuple
a_dict: Any = dict


def containers(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    keys = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(lambda one: (a_list[one[0]], st.lists(one[1], max_size=3))),
        inner.map(lambda one: (one[0] | None, st.none() | one[1])),
        keys.map(lambda one: (a_set[one[0]], st.sets(one[1], max_size=3))),
        st.tuples(inner, inner).map(lambda two: (a_tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))),
        st.tuples(keys, inner).map(
            lambda two: (a_dict[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], max_size=3))
        ),
    )


kinds = st.recursive(st.sampled_from(SCALARS), containers, max_leaves=3)


def passing(kind: Any, value: Any, seen: list[Any]) -> tuple[Step, Step]:
    @step(output_schema=kind)
    async def give(n: Any) -> Any:
        return value

    @step(input_schema=kind, output_schema=kind)
    async def take(data: Any) -> Any:
        seen.append(data)
        return data

    return give, take


async def ended(workflow: Workflow, engine: Any) -> RunResult:
    async with Cloche("memory:", workflows=[workflow], engine=engine) as app:
        return await (await app.start(workflow, 1)).result()


def native(give: Step, take: Step, kind: Any) -> Workflow:
    """It holds the value over a restart, and gives it on."""

    @cloche.workflow(id="native", output_schema=kind)
    async def whole(n: Any) -> Any:
        value = await give(n)
        await cloche.wait_for_event("go")
        return await take(value)

    return whole


async def restarted(workflow: Workflow) -> RunResult:
    store = MemoryStore()
    async with Cloche(store, workflows=[workflow]) as app:
        run = await app.start(workflow, 1, run_id="r")
        while await run.status() != "waiting":  # noqa: ASYNC110 - nobody is told when it waits for the event
            await asyncio.sleep(0.01)
    async with Cloche(store, workflows=[workflow]) as app:
        await app.send_event("r", "go", None)
        return await (await app.get("r")).result()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds, st.data())
def test_a_value_is_the_same_wherever_it_went(kind: Kind, data: st.DataObject) -> None:
    needs_python()
    annotation, values = kind
    value = data.draw(values)
    seen: list[Any] = []
    give, take = passing(annotation, value, seen)
    for engine, guest in ((DirectEngine(), "auto"), (SandboxEngine(), "javascript"), (SandboxEngine(), "python")):
        options: Any = {"guest": guest, "output_schema": annotation}
        workflow = create_workflow(id="w", **options).then(give).then(take).commit()
        result = run_in_loop(ended(workflow, engine))
        assert result.status == "success", result.error
        assert (result.result, type(result.result)) == (value, type(value))
    result = run_in_loop(restarted(native(give, take, annotation)))
    assert result.status == "success", result.error
    assert (result.result, type(result.result)) == (value, type(value))
    assert [(one, type(one)) for one in seen] == [(value, type(value))] * 4
