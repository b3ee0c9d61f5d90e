"""Native workflows whose steps give and take all sorts of types, for `test_native_types.py`."""

import dataclasses
import datetime as dt
import enum
import typing
import uuid
import zoneinfo
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, computed_field, field_validator
from typing_extensions import TypedDict

import cloche
from cloche import StepContext, gather, step, wait_for_event


class Outcome(enum.Enum):
    PAID = "paid"
    REFUSED = "refused"

    @property
    def is_good(self) -> bool:
        return self is Outcome.PAID


class Phase(enum.StrEnum):
    OPEN = "open"
    DONE = "done"


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + other.amount, self.currency)


class Point(typing.NamedTuple):
    x: int
    at: dt.date


class Row(TypedDict):
    id: uuid.UUID
    due: typing.NotRequired[dt.date]


class Address(BaseModel):
    street: str


class Order(BaseModel):
    """What somebody wants."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    total: Money
    phase: Phase = Phase.OPEN
    tags: list[str] = Field(default_factory=list)
    where: Address | None = None
    page: HttpUrl = HttpUrl("https://one.example/")
    by_day: dict[dt.date, int] = Field(default_factory=dict, alias="byDay")
    LIMIT: typing.ClassVar[int] = 5

    @field_validator("tags")
    @classmethod
    def _no_empty_tags(cls, tags: list[str]) -> list[str]:
        if "" in tags:
            raise ValueError("an empty tag")
        return tags

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        return f"{self.phase}: {self.total.amount}"

    def is_large(self) -> bool:
        return self.total.amount > self.LIMIT


class Unreadable(BaseModel):
    """Its method cannot go under glass: it is there with its fields alone."""

    value: Decimal

    def stored(self) -> str:
        return open("/etc/hostname").read()


@step
async def price(n: int) -> Decimal:
    return Decimal("1.50")


@step
async def charge(amount: Decimal) -> Outcome:
    assert type(amount) is Decimal
    return Outcome.PAID if amount < 10 else Outcome.REFUSED


@step
async def cost(n: int) -> Money:
    return Money(Decimal(n))


@step
async def make(total: Money) -> Order:
    return Order(total=total, where=Address(street="a"), byDay={dt.date(2026, 1, 1): 3})


@step
async def check(order: Order) -> Order:
    assert isinstance(order, Order)
    assert isinstance(order.total, Money)
    return order


@step
async def rows(n: int) -> list[Row]:
    return [{"id": uuid.UUID(int=n), "due": dt.date(2026, 1, n)}]


@step
async def many(n: int) -> tuple[Point, set[int], dict[uuid.UUID, dt.timedelta], dt.date | None, int | Decimal]:
    return Point(n, dt.date(2026, 1, 2)), {1, 2}, {uuid.UUID(int=1): dt.timedelta(seconds=1.5)}, None, Decimal("0.1")


@step
async def unreadable(n: int) -> Unreadable:
    return Unreadable(value=Decimal("1.1"))


@step
async def evening(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(22, 0, 0, 123456), zoneinfo.ZoneInfo("Europe/Berlin"))


@step
async def by_id(counts: dict[uuid.UUID, int]) -> int:
    assert all(type(one) is uuid.UUID for one in counts)
    return sum(counts.values())


@cloche.workflow(id="scalars")
async def scalars(n: int) -> str:
    total = await price(1) + await price(2)
    outcome = await charge(total)
    if outcome == Outcome.PAID and outcome.is_good:
        return f"{total} paid"
    return "refused"


@cloche.workflow(id="orders")
async def orders(start: Money, day: dt.date) -> Order:
    total = start + await cost(2)
    made = await make(total)
    assert made.where is not None
    assert (made.phase is Phase.OPEN, made.where.street, made.by_day) == (True, "a", {day: 3})
    assert (made.is_large(), made.label) == (True, "open: 12")
    changed = made.model_copy(update={"phase": Phase.DONE})
    assert (made == changed, changed.model_dump(include={"phase", "tags"})) == (
        False,
        {"phase": Phase.DONE, "tags": []},
    )
    checked: Order = await check(changed)
    return checked


@cloche.workflow(id="containers")
async def containers(n: int) -> list[str]:
    point, numbers, waits, nothing, part = await many(n)
    (row,) = await rows(n)
    strange = await unreadable(n)
    assert (point.x, point.at, numbers, nothing, part) == (n, dt.date(2026, 1, 2), {1, 2}, None, Decimal("0.1"))
    assert waits == {uuid.UUID(int=1): dt.timedelta(seconds=1.5)}
    assert (row["id"], row["due"]) == (uuid.UUID(int=n), dt.date(2026, 1, n))
    assert await by_id({uuid.UUID(int=1): 2, uuid.UUID(int=2): 3}) == 5
    return [type(one).__name__ for one in (point, numbers, strange, strange.value)]


@cloche.workflow(id="made")
async def made(n: int) -> list[Order]:
    """Models that are made inside: their fields are checked there, and what is in them where they arrive."""
    problems = []
    for fields in ({}, {"total": Money(Decimal(1)), "totl": 1}):
        try:
            Order(**fields)
        except TypeError as error:
            problems.append(str(error))
    assert problems == ["Order() is missing 'total'", "Order() has no field 'totl'"]
    one, other = Order(total=Money(Decimal(1))), Order(total=Money(Decimal(2)), tags=["x"])
    assert (one.id != other.id, one.tags is not other.tags) == (True, True)
    return list(await gather(check(one), check(other)))


@cloche.workflow(id="wrong")
async def wrong(n: int) -> str:
    try:
        await check(Order(total=Money(Decimal(1)), tags=[""]))
    except Exception as error:
        return str(error)
    return "it arrived"


class Total(BaseModel):
    sum: int


@cloche.workflow(id="another_type")
async def another_type(n: int) -> Total:
    return {"summe": n}  # type: ignore[return-value]


@cloche.workflow(id="clocks")
async def clocks(day: dt.date) -> list[str]:
    """The clocks change in the night: a day later is 23 hours later."""
    before = await evening(day)
    after = before + dt.timedelta(days=1)
    hours = (after.astimezone(dt.UTC) - before.astimezone(dt.UTC)) / dt.timedelta(hours=1)
    return [str(before.tzinfo), f"{hours:g}", str(before.microsecond), after.isoformat()]


@step
async def remember(n: int, ctx: StepContext) -> None:
    ctx.set_state(phase=Phase.DONE, total=Money(Decimal(n)))


class Kept(BaseModel):
    phase: Phase = Phase.OPEN
    total: Money = Money(Decimal(0))


class Given(TypedDict):
    state: typing.Any
    context: typing.Any


@cloche.workflow(id="stateful", state_schema=Kept)
async def stateful(n: int, given: Given) -> list[typing.Any]:
    before = given["state"]["phase"] is Phase.OPEN
    await remember(n)
    return [
        before,
        given["state"]["phase"] is Phase.DONE,
        (given["state"]["total"] + Money(Decimal(1))).amount == n + 1,
    ]


@cloche.workflow(id="waiting")
async def waiting(n: int) -> list[typing.Any]:
    payment = await wait_for_event("paid", schema=Money)
    several = await wait_for_event("several", schema=list[Order | None])
    return [payment.amount + 1 == Decimal("3.5"), several[0] is None, several[1].is_large()]  # type: ignore[union-attr]


@cloche.workflow(id="parent")
async def parent(n: int) -> bool:
    child = await orders(start=Money(Decimal(10)), day=dt.date(2026, 1, 1))
    return child.phase is Phase.DONE and child.is_large()
