"""Python functions as authors write them, for the tests of what goes under glass. Positions of lines matter nowhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import floor
from statistics import mean as average
from typing import Any

LIMIT = 80
RATES: dict[str, Any] = {
    "de": [0.19, float("inf")],
    "at": (0.2,),
    "none": set(),
    "some": {3, 1},
    "fixed": frozenset({1}),
}
WAIT = timedelta(days=3)
SINCE = datetime(2026, 1, 31, tzinfo=UTC)
PRICE = Decimal("9.90")
BIG = 10**5000


class Order:
    score: int


class Client:
    def knows(self, data: Any) -> bool:
        return bool(data)

    def __call__(self, data: Any) -> bool:
        return bool(data)


client = Client()


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def is_even(n: int) -> bool:
    return n == 0 or is_odd(n - 1)


def is_odd(n: int) -> bool:
    return n != 0 and is_even(n - 1)


def opposite(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def turned(data: Any) -> bool:
        return not function(data)

    return turned


@opposite
def is_small(
    data: Order,
    *,
    bound: int = LIMIT,
) -> bool:
    """Whether it is.

    Not more."""
    text = """in
 quotes"""

    def over(order: Order) -> bool:  # an annotation that is nowhere inside
        return order.score > bound and "\n quotes" in text

    return over(data)


@functools.cache
def remembered(data: Any) -> Any:
    return data


def above(bound: int) -> Callable[[Any], bool]:
    return lambda data: data.score > bound


def quoting() -> Callable[[Any], Any]:
    def quotes(data: Any) -> Any:
        return """a
        b
""" + data  # fmt: skip

    return quotes


def captures_everything(data: Any) -> Any:
    import json

    kinds = [RATES["de"][1] > 1, sorted(RATES["some"]), WAIT.days, SINCE.year, str(PRICE), BIG > 5, floor(2.5)]
    return [*kinds, average([1, 3]), math.tau > 6, json.dumps(data)]


ON_ONE_LINE = [lambda data: data.n > 1, lambda data: data.n > 2, lambda data: (lambda inner: inner)(data.n > 3)]
OVER_LINES = [
    lambda data: (
        data.score  # what counts
        > LIMIT
    ),
    (lambda data, ctx:
        ctx.steps["a"].n
        + data.n),
]  # fmt: skip


def with_loops(data: Any) -> Any:
    found: dict[str, int] = {}
    for word in data["words"]:
        found[word] = found.get(word, 0) + 1
    return {word: count for word, count in found.items() if count > 1}


def mistaken(data: Any) -> Any:
    return client.knows(data)


def generates(data: Any) -> Any:
    yield data


async def waits(data: Any) -> Any:
    return data


def changes(data: Any) -> Any:
    global LIMIT
    LIMIT = data
    return LIMIT


def counting() -> Callable[[Any], int]:
    count = 0

    def counts(data: Any) -> int:
        nonlocal count
        count += 1
        return count

    return counts


def fetches(data: Any) -> Any:
    import subprocess

    return subprocess.run(data)
