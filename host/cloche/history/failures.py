"""A failure as a value: what may cross the glass and be stored about an error.

Name, message, data, cause, bases, notes and the members of a group cross; stack, path and host detail do not. `from_exception`
keeps to this; the traceback for people is made by `traceback_of` and stays on the host, beside the record. Everything here is
bounded: an exception may hold the whole page that a server answered with.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import PurePath
from types import TracebackType
from typing import Any, NamedTuple

from cloche.errors import ClocheError, GuestFault
from cloche.history.values import ABI, encode_plain, plain
from cloche.text import shown

CAUSES_MAX = 8
MEMBERS_MAX = 16  # of an exception group
PARTS_MAX = 100  # failures in one: its causes, its members, and theirs
BASES_MAX = 16
NOTES_MAX = 16
NOTE_CHARS_MAX = 2_048
TRACE_MAX = 20  # frames of a failure's trace
NAME_CHARS_MAX = 200  # of a class, qualified or not
MESSAGE_CHARS_MAX = 8_192
MEMBER_CHARS_MAX = 200  # of each member in the message of its group
ATTRIBUTE_CHARS_MAX = 8_192  # of an attribute that is text or bytes
DATA_BYTES_MAX = 64 << 10  # of all attributes of one exception
TRACEBACK_CHARS_MAX = 64 << 10
_UNREADABLE = (Exception, SystemExit, GeneratorExit)  # what code of an author's may raise where it is only looked at
_CLOCHE = PurePath(__file__).parents[1]
_OF_A_LIMIT = ("limit", "value", "asked")
# What Python's own exceptions hold beside their `__dict__`, by the class that has it.
_STANDARD: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("name",),
    NameError: ("name",),
    AttributeError: ("name",),
    UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeEncodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeTranslateError: ("object", "start", "end", "reason"),
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
}
_STANDARD_OF = {f"builtins.{kind.__name__}": names for kind, names in _STANDARD.items()}  # by qualified name


Home = Callable[[type], str]  # the module that a class is said to be of


class Frame(NamedTuple):
    """A place in a workflow's source: line and column from 1. Python's have no column."""

    line: int
    function: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Failure(Exception):
    """What came of a step, child or run that failed. Shape: `failure` of `guest/ABI.md`.

    It is a value, and an exception too, so that `except Failure` can be written where a workflow is, and `RunFailed` has one as
    its cause. `bases` are the qualified names of the classes that it was an instance of, its own first; `notes` and the
    `members` of a group are as Python has them. `trace` is where in the workflow's source it happened, the outermost frame
    first. `step` and `traceback` (text for people) are filled by the host in results, and never cross. Two failures are
    equal if their names, messages, data, causes and steps are.
    """

    name: str
    message: str
    data: Any = None
    cause: Failure | None = None
    step: str | None = None
    bases: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    members: tuple[Failure, ...] = field(default=(), compare=False)
    trace: tuple[Frame, ...] = field(default=(), compare=False)
    traceback: str | None = field(default=None, compare=False)

    def to_wire(self, depth: int = 0, abi: int = ABI) -> dict[str, Any]:
        """The mapping that crosses to a guest of `abi`, keys in order. `depth` containers are around it.

        To a guest of ABI 1 a failure is what it always was: that of a group has its members in `data["exceptions"]`, and that
        of an OSError no number.

        Raises:
            InvalidInput: `data` cannot cross. That of `from_exception` always can.
        """
        wire: dict[str, Any] = {}
        data = self.data if abi > 1 else self._data_of_abi_1(depth)
        if data is not None:
            wire["data"] = plain(data, "data", depth + 1)
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
        """That of a message or a note. What of it is not in the grammar is passed over: it may be of a guest."""
        cause = wire.get("cause")
        return cls(
            str(wire.get("name", "Error")),
            str(wire.get("message", "")),
            wire.get("data"),
            cls.from_wire(cause) if isinstance(cause, dict) else None,
            bases=tuple(name for name in _texts(wire.get("bases")) if len(name) <= NAME_CHARS_MAX)[:BASES_MAX],
            notes=_texts(wire.get("notes"))[:NOTES_MAX],
            members=tuple(cls.from_wire(one) for one in _list(wire.get("members")) if isinstance(one, dict)),
            trace=tuple(Frame(*one) for one in _list(wire.get("trace")) if _is_frame(one))[:TRACE_MAX],
        )

    @classmethod
    def from_exception(cls, error: BaseException, home: Home = lambda kind: kind.__module__) -> Failure:
        """The failure of an exception raised by a step: its type's name, its text, its public attributes as data.

        That of an exception group says what was raised in it: in its message, and as its members.
        """
        return _Making(home).failure(error)

    @classmethod
    def of(cls, kind: type[Exception], message: str, data: Any = None) -> Failure:
        """One that the host makes of its own accord, as if `kind` had been raised."""
        return cls(kind.__name__, message, data, bases=_bases_of(kind, lambda one: one.__module__))

    def told_to(self, names: frozenset[str] | None) -> Failure:
        """As it may enter code that holds the classes of these qualified names; None: that of a tenant.

        Python's built-in exceptions and cloche's are told to everybody, those of Python's library to the host's own code, and
        an author's to code that has them: else names of modules and classes are the host's business.
        """
        if not self.bases and self.cause is None and not self.members:
            return self
        return replace(
            self,
            bases=tuple(name for name in self.bases if _is_told(name, names)),
            cause=self.cause.told_to(names) if self.cause is not None else None,
            members=tuple(member.told_to(names) for member in self.members),
        )

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # read when a traceback is made
        """What Python writes below it in a traceback."""
        return [self.traceback] if self.traceback else list(self.notes)

    def __str__(self) -> str:
        """For people: `text.shown` of name and message."""
        return shown(f"{self.name}: {self.message}" if self.message else self.name, lines=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return Failure, tuple(getattr(self, one.name) for one in fields(self))

    def _data_of_abi_1(self, depth: int) -> Any:
        data = self.data
        if isinstance(data, dict) and self.bases:
            standard = {"args", *(name for base in self.bases for name in _STANDARD_OF.get(base, ()))}
            if standard & data.keys():
                data = {name: value for name, value in data.items() if name not in standard} or None
        if self.members:
            leaves = islice(_leaf_failures(self.members), MEMBERS_MAX)
            own = data if isinstance(data, dict) else {}
            data = {**own, "exceptions": [leaf.to_wire(depth + 3, 1) for leaf in leaves]}
        return data


def _leaf_failures(members: tuple[Failure, ...]) -> Iterator[Failure]:
    for member in members:
        if member.members:
            yield from _leaf_failures(member.members)
        else:
            yield member


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
    """For people, with source lines, causes, groups and notes. Of one that is too long the beginning and the end."""
    try:
        text = "".join(traceback.format_exception(type(error), error, _outside_of_cloche(error.__traceback__)))
    except _UNREADABLE:  # it reads attributes, which a class may have made into functions that raise
        return f"{name_of(error)} (its traceback could not be made)\n"
    half = TRACEBACK_CHARS_MAX // 2
    if (left_out := len(text) - 2 * half) > 0:
        text = f"{text[:half]}\n… {left_out} characters are left out …\n{text[-half:]}"
    return text


class _Making:
    """One failure on its way: how many more parts it may have."""

    __slots__ = ("home", "left")

    def __init__(self, home: Home) -> None:
        self.home = home
        self.left = PARTS_MAX

    def failure(self, error: BaseException, depth: int = 0) -> Failure:
        """`depth` containers are around it on the wire: a cause stands in one more, a member in two."""
        self.left -= 1
        if isinstance(error, Failure):  # a step has passed on what came of another run
            return _without(error, CAUSES_MAX - depth)
        cause, is_deep = _cause(error), depth >= CAUSES_MAX
        members = error.exceptions if isinstance(error, BaseExceptionGroup) and not is_deep else ()
        return Failure(
            name_of(error),
            _message(error),
            _data(error, depth),
            self.failure(cause, depth + 1) if cause is not None and not is_deep and self.left > 0 else None,
            bases=_bases_of(type(error), self.home),
            notes=_notes(error),
            members=tuple(self.failure(one, depth + 2) for one in members[:MEMBERS_MAX] if self.left > 0),
        )


def _without(failure: Failure, causes: int) -> Failure:
    """A failure with at most so many causes below one another, and what only its own run knows left out."""
    cause = _without(failure.cause, causes - 1) if failure.cause is not None and causes > 0 else None
    members = failure.members if causes > 1 else ()
    return replace(failure, cause=cause, members=members, step=None, trace=(), traceback=None)


def _outside_of_cloche(at: TracebackType | None) -> TracebackType | None:
    """From the first frame on that is not the host's own: how a step is called says nothing of why it failed."""
    first = at
    while first is not None and _CLOCHE in PurePath(first.tb_frame.f_code.co_filename).parents:
        first = first.tb_next
    return at if first is None else first


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in _list(value) if isinstance(one, str))


def _is_frame(one: Any) -> bool:
    if not isinstance(one, list) or len(one) not in (2, 3):
        return False
    return type(one[0]) is int and isinstance(one[1], str) and all(type(column) is int for column in one[2:])


def _is_told(base: str, names: frozenset[str] | None) -> bool:
    root = base.partition(".")[0]
    if root in ("builtins", "cloche"):
        return True
    return names is not None and (base in names or root in sys.stdlib_module_names)


def _bases_of(kind: type, home: Home) -> tuple[str, ...]:
    """Qualified names, the nearest first. Of too many those stay that code anywhere knows."""
    names = [name for one in kind.__mro__ if one is not object and (name := _qualified(one, home)) is not None]
    known = sum(_is_told(name, None) for name in names)
    left = max(BASES_MAX - known, 0)
    told = []
    for name in names:
        if not _is_told(name, None):
            left -= 1
            if left < 0:
                continue
        told.append(name)
    return tuple(told[:BASES_MAX])


def _qualified(kind: type, home: Home) -> str | None:
    try:
        name = f"{home(kind)}.{kind.__qualname__}"
    except _UNREADABLE:
        return None
    root, _, _ = name.partition(".")
    if root in ("cloche", "cloche_codegen"):  # where in cloche it is defined is no part of its name
        name = f"cloche.{kind.__qualname__}"
    return name if len(name) <= NAME_CHARS_MAX and name.isprintable() else None


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


def _notes(error: BaseException) -> tuple[str, ...]:
    try:
        notes = list(islice(getattr(error, "__notes__", ()), NOTES_MAX))
    except _UNREADABLE:
        return ()
    return tuple(_as_text(str(note), NOTE_CHARS_MAX) for note in notes if isinstance(note, str))


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
    return plain(data) if data else None


def _cut(value: Any) -> Any:
    return value[:ATTRIBUTE_CHARS_MAX] if isinstance(value, str | bytes) else value


def _attributes(error: BaseException) -> list[tuple[str, Any]]:
    try:
        found = [(name, value) for name, value in vars(error).items() if not name.startswith("_")]
        found += _standard(error, dict(found))
    except _UNREADABLE:
        return []
    return found


def _standard(error: BaseException, own: dict[str, Any]) -> list[tuple[str, Any]]:
    """What Python itself keeps of an exception. Its `args` only where they are more than its text."""
    names = [name for kind, names in _STANDARD.items() if isinstance(error, kind) for name in names if name not in own]
    found = [(name, value) for name in names if (value := getattr(error, name, None)) is not None]
    is_plain = type(error).__module__ == "builtins" and not isinstance(error, (BaseExceptionGroup, *_STANDARD))
    if (is_plain or isinstance(error, KeyError)) and error.args and error.args != (str(error),):
        found.append(("args", list(error.args)))
    return found
