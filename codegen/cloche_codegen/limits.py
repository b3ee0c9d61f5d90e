"""Limits that hold for all workers of a store: how many attempts are made at once, and how many begin in a window of time.

What they are held against lies in the store. Here is what an author writes of them, and what a key is of an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias

from pydantic_core import to_json

from cloche_codegen.errors import GraphError

Key: TypeAlias = str | Callable[[Any], Any]
Scope: TypeAlias = Literal["store", "tenant"]

NAME_MAX: Final = 100  # characters
KEY_MAX: Final = 200  # characters of a key that is kept as it is: of a longer one its digest is
MOST_MAX: Final = 1_000_000
PER_S_MAX: Final = 366 * 86_400.0
_WHOLE: Final = ("data", "inputData", "input")  # names of the whole input in a path


class BadKey(ValueError):
    """An input has no value at the key of a limit, or one that cannot be a key."""


@dataclass(frozen=True)
class Concurrency:
    """At most `most` at once, over all workers of the store.

    Of a step that is attempts: one waits in the queue until another has ended, failed or been suspended. Of a workflow it is
    runs, from their first turn to their end.

    Args:
        name: what is limited. Steps and workflows that name the same share it.
        most: how many.
        key: where in the input the value is by which it is limited: each value has a limit of its own. A path
            (`data.customer`, the name of a parameter before it where there are several), or a function of the input.
        scope: `tenant`: each tenant has one of its own. `store`: all tenants share it. By default tenants share what has no
            key, and nothing else.

    Raises:
        GraphError: one of these is not what it must be.
    """

    name: str
    most: int
    key: Key | None = None
    scope: Scope | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def is_of_tenant(self) -> bool:
        """Whether each tenant has one of its own."""
        return self.scope == "tenant" if self.scope is not None else self.key is not None

    @property
    def per_ms(self) -> int:
        """The length of its window; 0: it has none."""
        return 0


@dataclass(frozen=True)
class RateLimit:
    """At most `most` begin in any `per_s` seconds, over all workers of the store: attempts of a step, or runs of a workflow.

    An attempt that is made again counts again. Arguments are as of `Concurrency`.

    Raises:
        GraphError: one of these is not what it must be.
    """

    name: str
    most: int
    per_s: float = 1.0
    key: Key | None = None
    scope: Scope | None = None

    def __post_init__(self) -> None:
        is_number = isinstance(self.per_s, int | float) and not isinstance(self.per_s, bool)
        if not is_number or not 0.001 <= self.per_s <= PER_S_MAX:
            raise _bad(self.name, f"per_s is a number of seconds from 0.001 to a year, not {self.per_s!r}")
        _check(self)

    @property
    def is_of_tenant(self) -> bool:
        """Whether each tenant has one of its own."""
        return self.scope == "tenant" if self.scope is not None else self.key is not None

    @property
    def per_ms(self) -> int:
        """The length of its window."""
        return round(self.per_s * 1000)


AnyLimit: TypeAlias = Concurrency | RateLimit


def limits_of(id: str, concurrency: Any, rate_limit: Any) -> tuple[AnyLimit, ...]:
    """Those of a step or workflow, as its author gave them: one, several, or none.

    Raises:
        GraphError: something else was given, or the same limit twice.
    """
    found = [*_listed(id, "concurrency", Concurrency, concurrency), *_listed(id, "rate_limit", RateLimit, rate_limit)]
    names = [(type(one), one.name, one.per_ms) for one in found]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise _bad(id, f"it has the limit '{twice[1]}' twice: give the second another name")
    return tuple(found)


def key_of(limit: AnyLimit, given: Any, parameter: str | None = None) -> str:
    """The value by which an input is limited, as text; empty where the limit has no key.

    `given` is the input, or a mapping of the arguments by name; `parameter` is the name of the one that it is the whole of.

    Raises:
        BadKey: there is none, or it cannot be one.
    """
    if limit.key is None:
        return ""
    if callable(limit.key):
        return _as_text(limit.name, limit.key(given))
    first, *rest = limit.key.split(".")
    value, path = given, rest
    if first not in (*_WHOLE, parameter) or (isinstance(given, Mapping) and first in given):
        path = [first, *rest]
    for segment in path:
        value = _member(value, segment)
        if value is None:
            raise BadKey(f"limit '{limit.name}' goes by {limit.key}, and the input has no value there")
    return _as_text(limit.name, value)


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and name.isdigit():
        return value[int(name)] if int(name) < len(value) else None
    return None if name.startswith("_") else getattr(value, name, None)


def _as_text(name: str, value: Any) -> str:
    if value is None:
        raise BadKey(f"the key of limit '{name}' is None: it is a text, a number or other plain data")
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float) and value.is_integer():  # what JavaScript gives back of an int is one
        text = str(int(value))
    elif isinstance(value, str | int | float | Decimal):
        text = str(value)
    else:
        try:
            text = to_json(value).decode()
        except ValueError as error:  # pydantic's error is one
            raise BadKey(f"the key of limit '{name}' is {type(value).__name__}, which is no plain data") from error
    if text and len(text) <= KEY_MAX and text.isprintable():
        return text
    return f"#{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _listed(id: str, option: str, kind: type[Any], given: Any) -> list[Any]:
    if given is None:
        return []
    several = list(given) if isinstance(given, tuple | list) else [given]
    for one in several:
        if not isinstance(one, kind):
            raise _bad(id, f"{option} takes a {kind.__name__}, or several of them, not {one!r}")
    return several


def _check(limit: AnyLimit) -> None:
    name, most, key = limit.name, limit.most, limit.key
    if not isinstance(name, str) or not name or len(name) > NAME_MAX or not name.isprintable():
        raise _bad(str(name), f"the name of a limit is a text of 1 to {NAME_MAX} printable characters, not {name!r}")
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= MOST_MAX:
        raise _bad(name, f"most is a whole number from 1 to {MOST_MAX}, not {most!r}")
    if key is not None and not callable(key) and not (isinstance(key, str) and all(key.split("."))):
        raise _bad(name, f"key is a path into the input such as 'data.customer', or a function of it, not {key!r}")
    if limit.scope not in (None, "store", "tenant"):
        raise _bad(name, f"scope is 'store' or 'tenant', not {limit.scope!r}")


def _bad(name: str, message: str) -> GraphError:
    return GraphError.one("bad_limit", name, message)
