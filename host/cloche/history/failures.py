"""A failure as a value: what may cross the glass and be stored about an error.

Name, message, data and cause cross; stack, path and host detail do not. `from_exception` keeps to this;
the traceback for people is made by `traceback_of` and stays on the host, beside the record.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from cloche.errors import ClocheError, GuestFault
from cloche.history.values import ABI, plain

CAUSES_MAX = 8
BASES_MAX = 16
NAME_CHARS_MAX = 200  # of one qualified base name
MESSAGE_CHARS_MAX = 8_192
_OF_A_LIMIT = ("limit", "value", "asked")


@dataclass(frozen=True, slots=True)
class Failure:
    """Shape: `failure` of `guest/ABI.md`. `step` is filled by the host in results and never crosses.

    `bases` are the qualified names of what the exception was an instance of, its own class first; `notes` and the `members`
    of a group are as Python has them. None of these three makes a failure another one.
    """

    name: str
    message: str
    data: Any = None
    cause: Failure | None = None
    step: str | None = None
    bases: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    members: tuple[Failure, ...] = field(default=(), compare=False)

    def to_wire(self, depth: int = 0, abi: int = ABI) -> dict[str, Any]:
        """The mapping that crosses to a guest of `abi`, keys in order. `depth` containers are around it.

        Raises:
            InvalidInput: `data` cannot cross. That of `from_exception` always can.
        """
        wire: dict[str, Any] = {}
        if self.data is not None:
            wire["data"] = plain(self.data, "data", depth + 1)
        wire["name"] = self.name
        if self.bases and abi > 1:
            wire["bases"] = list(self.bases)
        if self.cause is not None:
            wire["cause"] = self.cause.to_wire(depth + 1, abi)
        if self.notes and abi > 1:
            wire["notes"] = list(self.notes)
        if self.members and abi > 1:
            wire["members"] = [member.to_wire(depth + 2, abi) for member in self.members]
        wire["message"] = self.message
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Failure:
        cause = wire.get("cause")
        return cls(
            str(wire.get("name", "Error")),
            str(wire.get("message", "")),
            wire.get("data"),
            cls.from_wire(cause) if isinstance(cause, dict) else None,
            bases=_texts(wire.get("bases")),
            notes=_texts(wire.get("notes")),
            members=tuple(cls.from_wire(one) for one in _list(wire.get("members")) if isinstance(one, dict)),
        )

    @classmethod
    def from_exception(cls, error: BaseException, depth: int = 0) -> Failure:
        """The failure of an exception raised by a step: its type's name, its text, its public attributes as data."""
        cause = _cause(error)
        return cls(
            type(error).__name__,
            _text(error),
            _data(error, depth),
            cls.from_exception(cause, depth + 1) if cause is not None and depth < CAUSES_MAX else None,
            bases=_bases(error),
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


def traceback_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # it reads attributes, which a class may have made into functions that raise
        return f"{type(error).__name__} (its traceback could not be made)\n"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in _list(value) if isinstance(one, str))


def _bases(error: BaseException) -> tuple[str, ...]:
    """The classes that code anywhere knows: Python's own and cloche's. Names of an author's modules do not cross."""
    known = [kind for kind in type(error).__mro__ if kind is not object and _home(kind) in ("builtins", "cloche")]
    names = [f"{_home(kind)}.{kind.__qualname__}" for kind in known]
    return tuple(name for name in names if len(name) <= NAME_CHARS_MAX)[:BASES_MAX]


def _home(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _cause(error: BaseException) -> BaseException | None:
    try:
        cause = error.__cause__
    except Exception:
        return None
    return cause if isinstance(cause, BaseException) else None


def _text(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, ClocheError) else str(error)
    except Exception:
        text = "(its text could not be made)"
    return text[:MESSAGE_CHARS_MAX].encode("utf-8", "replace").decode()


def _data(error: BaseException, depth: int) -> Any:
    """The public attributes that an author put on the exception, where they can cross (`code=42` and the like)."""
    if isinstance(error, GuestFault) and "limit" in error.facts:
        return plain({name: error.facts[name] for name in _OF_A_LIMIT if name in error.facts})
    if isinstance(error, ClocheError):
        return None
    data = {}
    for name, value in _attributes(error):
        try:
            data[name] = plain(value, name, depth + 2)
        except Exception:  # it cannot cross, or it is an object of the author's that raises when it is read
            continue
    return dict(sorted(data.items())) or None


def _attributes(error: BaseException) -> list[tuple[str, Any]]:
    try:
        return [(name, value) for name, value in vars(error).items() if not name.startswith("_")]
    except Exception:
        return []
