"""Classes as authors write them, for the tests of what goes under glass."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel

LOWEST = 3


class Status(enum.Enum):
    OPEN = "open"
    PAID = "paid"

    @property
    def is_final(self) -> bool:
        return self is Status.PAID


class Level(enum.IntEnum):
    LOW = 1
    HIGH = LOWEST * 3


def named(prefix: str) -> Callable[[type], type]:
    def to_named(made: type) -> type:
        made.label = prefix + made.__name__  # type: ignore[attr-defined]
        return made

    return to_named


@dataclass(order=True)
class Line:
    """What is ordered."""

    sku: str
    count: int = 1
    _: KW_ONLY
    tags: list[str] = field(default_factory=lambda: [f"at least {LOWEST}"])
    kinds: ClassVar[dict[str, Any]] = {"a": 1}

    def __post_init__(self) -> None:
        self.count = max(self.count, LOWEST)

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.count

    @classmethod
    def of(cls, data: dict[str, Any]) -> Line:
        return cls(data["sku"], data.get("count", 1))


@named("the ")
@dataclass
class Gift(Line):
    # a text that is not moved
    note: str = """with
    love"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.count += 100

    def wrapped(self) -> Box:
        return Box(self, Status.OPEN)


class Box(NamedTuple):
    gift: Gift
    status: Status = Status.OPEN

    def paid(self) -> Box:
        return self._replace(status=Status.PAID)


class ShopError(Exception):
    pass


class OutOfStock(ShopError):
    def __init__(self, sku: str) -> None:
        super().__init__(f"no {sku} left")
        self.sku = sku


class Model(BaseModel):
    x: int


DEFAULT = Status.PAID
FINAL = [Status.PAID, {"level": Level.HIGH}]


def boxes(data: dict[str, Any]) -> list[Any]:
    line, gift = Line.of(data), Gift("g", 2, note="hi")
    box = gift.wrapped().paid()
    return [
        line, line.double, line < Line("zz"), sorted(Line.kinds), gift.count, Gift.label, Gift("h").note,  # type: ignore[attr-defined]
        box.status, box.status.is_final, box == (gift, DEFAULT), FINAL, Level(9).name, Status(data["status"]) is Status.OPEN,
    ]  # fmt: skip


def fails(data: Any) -> None:
    raise OutOfStock(data)


def standard(data: Any, status: Status = Status.OPEN) -> bool:
    return status.is_final


def renamed(data: Any) -> Any:
    return Other(data)


Other = Status


def modelled(data: Any) -> Any:
    return Model(x=data)


def local() -> Callable[[Any], Any]:
    limit = 5

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x + limit

    return lambda data: Local(data).x


def conditional(data: Any) -> Any:
    return Twice()


if LOWEST:

    class Twice:
        x = 1

else:

    class Twice:  # type: ignore[no-redef]
        x = 2
