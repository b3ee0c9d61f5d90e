"""What the type of an annotation costs in the Python guest, where a step's result arrives; and a call of two arguments."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, once_us
from cloche import SandboxEngine, Workflow, step, workflow
from cloche.run.code import code_of
from cloche.sandbox import Cell, Image

VALUES = 1_000
CALLS = 2_000
TURNS = 25
SCALAR_US, UUID_US, OBJECT_US = 1.0, 3.0, 5.0  # bounds of what one value may cost
ENGINE = SandboxEngine()
CALL = 1.1  # of what a call of two arguments may take, beside one of one


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    name: str
    count: int
    price: float


@step
async def untyped(n: int) -> list[Any]:
    return []


@step
async def decimals(n: int) -> list[Decimal]:
    return []


@step
async def dates(n: int) -> list[dt.date]:
    return []


@step
async def times(n: int) -> list[dt.datetime]:
    return []


@step
async def durations(n: int) -> list[dt.timedelta]:
    return []


@step
async def colours(n: int) -> list[Colour]:
    return []


@step
async def uuids(n: int) -> list[UUID]:
    return []


@step
async def items(n: int) -> list[Item]:
    return []


@step
async def same(a: int) -> int:
    return a


@step
async def add(a: int, b: int) -> int:
    return a + b


@workflow
async def of_anything(n: int) -> int:
    return len(await untyped(n))


@workflow
async def of_decimals(n: int) -> int:
    return len(await decimals(n))


@workflow
async def of_dates(n: int) -> int:
    return len(await dates(n))


@workflow
async def of_times(n: int) -> int:
    return len(await times(n))


@workflow
async def of_durations(n: int) -> int:
    return len(await durations(n))


@workflow
async def of_colours(n: int) -> int:
    return len(await colours(n))


@workflow
async def of_uuids(n: int) -> int:
    return len(await uuids(n))


@workflow
async def of_items(n: int) -> int:
    return len(await items(n))


@workflow
async def calls_of_one(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await same(x)
    return x


@workflow
async def calls_of_two(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await add(x, 1)
    return x


_EACH = (
    ("a Decimal", of_decimals, lambda i: f"{i * 7919}.{i % 100:02}", SCALAR_US),
    ("a date", of_dates, lambda i: (dt.date(2026, 1, 1) + dt.timedelta(i)).isoformat(), SCALAR_US),
    ("a datetime", of_times, lambda i: (dt.datetime(2026, 1, 1) + dt.timedelta(0, i)).isoformat(), SCALAR_US),
    ("a timedelta", of_durations, lambda i: f"PT{i}S", SCALAR_US),
    ("an enum's member", of_colours, lambda i: "red" if i % 2 else "blue", SCALAR_US),
    ("a UUID", of_uuids, lambda i: str(UUID(int=i * 2**96 + 0x1234_5678_9ABC_DEF0)), UUID_US),
    ("a dataclass of three fields", of_items, lambda i: {"name": "x", "count": i, "price": i / 2}, OBJECT_US),
)


def typed_values(_: Scale) -> Iterator[Figure]:
    """Each beside the same value without a type. Nothing where the Python guest is not built."""
    if not h.has_python():
        return
    plain = _image(of_anything)
    for name, typed, wire, most in _EACH:
        values = [wire(number) for number in range(VALUES)]
        before, all_in_all = (_turn_us(image, values) / VALUES for image in (plain, _image(typed)))
        yield Figure(f"python: {name}", all_in_all - before, "µs", "untyped", before, most)
    one, two = (_calls_us(_image(made)) for made in (calls_of_one, calls_of_two))
    yield Figure("python: a call of two arguments", two, "µs", "of one", one, CALL * one)


def _image(made: Workflow) -> Image:
    return h.image(code_of(made, ENGINE).source, "python")


def _turn_us(image: Image, values: list[Any]) -> float:
    """One turn, in which a step gives `values`."""
    return _least_us(image, VALUES, [h.completed(1, values).pack()])


def _calls_us(image: Image) -> float:
    """One of `CALLS` calls, one after the other, and its end."""
    return _least_us(image, CALLS, [h.completed(call, call).pack() for call in range(1, CALLS + 1)]) / CALLS


def _least_us(image: Image, argument: int, events: list[bytes]) -> float:
    """The least of some turns with these events: what else the machine does only makes them longer."""
    return min(once_us(partial(_begun(image, argument).turn, events)) for _ in range(TURNS))


def _begun(image: Image, argument: int) -> Cell:
    cell = Cell(image, h.LIMITS)
    cell.turn([h.started(argument).pack()])
    return cell
