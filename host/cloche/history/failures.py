"""A failure as a value: what may cross the glass and be stored about an error.

Name, message, data and cause cross; stack, path and host detail do not. `from_exception` keeps to this;
the traceback for people is made by `traceback_of` and stays on the host, beside the record. Everything here is bounded: an
exception may hold the whole page that a server answered with.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from cloche.errors import ClocheError, GuestFault
from cloche.history.values import ABI, encode_plain, plain

CAUSES_MAX = 8
MEMBERS_MAX = 16  # of an exception group
BASES_MAX = 16
NAME_CHARS_MAX = 200  # of a class, qualified or not
MESSAGE_CHARS_MAX = 8_192
MEMBER_CHARS_MAX = 200  # of each member in the message of its group
ATTRIBUTE_CHARS_MAX = 8_192  # of an attribute that is text or bytes
DATA_BYTES_MAX = 64 << 10  # of all attributes of one exception
TRACEBACK_CHARS_MAX = 64 << 10
_UNREADABLE = (Exception, SystemExit, GeneratorExit)  # what code of an author's may raise where it is only looked at
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
        """The failure of an exception raised by a step: its type's name, its text, its public attributes as data.

        That of an exception group says what was raised in it: in its message, and as failures in `data["exceptions"]`.
        """
        cause = _cause(error)
        return cls(
            name_of(error),
            _message(error),
            _data(error, depth),
            cls.from_exception(cause, depth + 1) if cause is not None and depth < CAUSES_MAX else None,
            bases=_bases(error),
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What was raised: the exception itself, or what an exception group holds, groups within it opened too."""
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += reversed(one.exceptions)
        else:
            yield one


def name_of(error: BaseException) -> str:
    """The name of its class."""
    try:
        return _as_text(type(error).__name__, NAME_CHARS_MAX)
    except _UNREADABLE:  # a metaclass can make a function of it
        return "Exception"


def traceback_of(error: BaseException) -> str:
    """For people, with causes, groups and notes. Of one that is too long the beginning and the end."""
    try:
        text = "".join(traceback.format_exception(error))
    except _UNREADABLE:  # it reads attributes, which a class may have made into functions that raise
        return f"{name_of(error)} (its traceback could not be made)\n"
    half = TRACEBACK_CHARS_MAX // 2
    if (left_out := len(text) - 2 * half) > 0:
        text = f"{text[:half]}\n… {left_out} characters are left out …\n{text[-half:]}"
    return text


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
    except _UNREADABLE:
        return None
    return cause if isinstance(cause, BaseException) else None


def _message(error: BaseException) -> str:
    text = _text(error)
    if isinstance(error, BaseExceptionGroup):
        members = list(islice(leaves(error), MEMBERS_MAX + 1))
        said = [_as_text(f"{name_of(one)}: {_text(one)}", MEMBER_CHARS_MAX) for one in members[:MEMBERS_MAX]]
        text = f"{text}: {'; '.join([*said, *['…'] * (len(members) > MEMBERS_MAX)])}"
    return text[:MESSAGE_CHARS_MAX]


def _text(error: BaseException) -> str:
    try:
        return _as_text(error.message if isinstance(error, ClocheError) else str(error), MESSAGE_CHARS_MAX)
    except _UNREADABLE:
        return "(its text could not be made)"


def _as_text(text: str, chars_max: int) -> str:
    return text[:chars_max].encode("utf-8", "replace").decode()


def _data(error: BaseException, depth: int) -> Any:
    """The public attributes that an author put on the exception, where they can cross (`code=42` and the like)."""
    if isinstance(error, GuestFault) and "limit" in error.facts:
        return plain({name: error.facts[name] for name in _OF_A_LIMIT if name in error.facts})
    if isinstance(error, ClocheError):
        return None
    data, left = {}, DATA_BYTES_MAX
    for name, value in _attributes(error):
        try:
            crossing = plain(_cut(value), name, depth + 2)
            size = len(encode_plain([name, crossing]))
        except _UNREADABLE:  # it cannot cross, or it is an object of the author's that raises when it is read
            continue
        if size <= left:
            data[name], left = crossing, left - size
    if isinstance(error, BaseExceptionGroup) and depth < CAUSES_MAX:
        members = islice(leaves(error), MEMBERS_MAX)
        data["exceptions"] = [Failure.from_exception(one, depth + 3).to_wire() for one in members]
    return plain(data) if data else None


def _cut(value: Any) -> Any:
    return value[:ATTRIBUTE_CHARS_MAX] if isinstance(value, str | bytes) else value


def _attributes(error: BaseException) -> list[tuple[str, Any]]:
    try:
        return [(name, value) for name, value in vars(error).items() if not name.startswith("_")]
    except _UNREADABLE:
        return []
