"""Failures: how an exception crosses the glass, and what a failure that comes in is raised as.

A failure is data, `failure` of `guest/ABI.md`. Inside it is a `Failure`, and beside that whatever of its bases is known here:
Python's exceptions, cloche's, and those that the workflow's code holds. So `except` catches what it would catch without glass.
"""

from __future__ import annotations

import builtins
import sys
from asyncio.exceptions import CancelledError
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from _cloche import encoded

from ._near import near_name
from ._values import MISSING

_DEPTH_MAX: Final = 64
_PARTS_MAX: Final = 100  # failures in one that goes out
_BASES_MAX: Final = 16
_NAME_CHARS_MAX: Final = 200
_NOTES_MAX: Final = 16
_MEMBERS_MAX: Final = 16
_HEAP_TYPE: Final = 1 << 9  # of a class that is written in Python
# What Python's own exceptions hold beside their `__dict__`, as in the host's `history/failures.py`.
_UNICODE: Final = ("encoding", "object", "start", "end", "reason")
_STANDARD: Final[dict[type[BaseException], tuple[str, ...]]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("name",),
    NameError: ("name",),
    AttributeError: ("name",),
    UnicodeDecodeError: _UNICODE,
    UnicodeEncodeError: _UNICODE,
    UnicodeTranslateError: _UNICODE[1:],
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
}
# Of which of these the `args` are made, where they are not told themselves.
_ARGUMENTS: Final[dict[type[BaseException], tuple[str, ...]]] = {
    OSError: ("errno", "strerror"),
    UnicodeDecodeError: _UNICODE,
    UnicodeEncodeError: _UNICODE,
    UnicodeTranslateError: _UNICODE[1:],
}


class Failure(Exception):
    """A step, child run or wait failed: `name`, `message`, `data` (None without) and `cause` (a Failure or None)."""

    _name: str
    _message: str
    _data: Any
    _bases: tuple[str, ...] | None  # None of one that was made in here

    def __init__(
        self,
        message: str = "",
        *,
        name: str | None = None,
        data: Any = MISSING,
        cause: Any = None,
        bases: tuple[str, ...] | None = None,
    ) -> None:
        Exception.__init__(self, message)  # not that of an author's class, which may want something else
        own = {"_name": name or type(self).__name__, "_message": message, "_data": data, "_bases": bases}
        self.__dict__.update(own)  # nor its `__setattr__`
        if isinstance(cause, BaseException):
            BaseException.__setattr__(self, "__cause__", cause)

    def __str__(self) -> str:
        return self._message

    @property
    def name(self) -> str:
        return self._name

    @property
    def message(self) -> str:
        return self._message

    @property
    def data(self) -> Any:
        return None if self._data is MISSING else self._data

    @property
    def cause(self) -> BaseException | None:
        return self.__cause__

    @property
    def bases(self) -> tuple[str, ...]:
        """The qualified names of what it is an instance of, its own class first; none of a failure that was no exception."""
        return self._bases or ()


class EventTimeout(Failure, TimeoutError):
    """No event came in time."""


class FatalError(Failure):
    """As on the host: nothing is tried again."""


class RetryableError(Failure):
    """As on the host."""


class UnknownOutcome(Failure):
    """A step that is to run at most once began, and nobody will hear how it ended."""


class RedispatchedTooOften(Failure):
    """A step was begun again and again, and each time its process ended before it did."""


class HeartbeatTimeout(EventTimeout):
    """Whoever was to send an event has not been heard of for too long."""


class DeadlineExceeded(Failure):
    """The run had not ended by its deadline."""


class HookConflict(Failure):
    """Another hook that waits has this token."""


class CompletionError(Failure):
    """Of several things at once, fewer have succeeded than had to. `batch` has how each of them ended."""


class ClocheError(Failure):
    """The base of the errors that cloche itself raises where a step or a child is begun."""


class InvalidInput(ClocheError):
    """A value does not fit a schema, or cannot cross."""


class NotGranted(ClocheError):
    """The policy does not allow this step or workflow."""


class RunConflict(ClocheError):
    """The run has had a child of this id."""


class Canceled(CancelledError):
    """Thrown where a task waits that is not wanted any more; let it pass, and clean up in `finally`."""


class Bail(BaseException):
    """What the call of a step that bailed is rejected with: it ends the innermost workflow, well."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class Continued(Bail):
    """Raised by `continue_as_new`: the run goes on as its next history, which begins with this value."""


# ── which classes are known ─────────────────────────────────────────────────────────────────────────────────────────
# What a loop or the driver takes as its own is never made of a failure.
_NEVER: Final = (StopIteration, StopAsyncIteration, MemoryError)
_OF_CLOCHE: Final = (
    Failure, EventTimeout, HeartbeatTimeout, DeadlineExceeded, HookConflict,
    FatalError, RetryableError, UnknownOutcome, RedispatchedTooOften, CompletionError, ClocheError,
    InvalidInput, NotGranted, RunConflict,
)  # fmt: skip
_kinds: Final[dict[str, type[BaseException]]] = {
    **{f"cloche.{kind.__name__}": kind for kind in _OF_CLOCHE},
    "builtins.BaseExceptionGroup": BaseExceptionGroup,
}
_names: Final[dict[type, str]] = {kind: name for name, kind in _kinds.items()}
_own: Final[dict[str, type[BaseException]]] = {}  # that the workflow's module has, by their own names
_names_its_own = False  # … and also by the qualified ones that steps say


def _is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, _NEVER)


_common: Final[dict[str, type[BaseException]]] = {
    **{name: kind for name, kind in vars(builtins).items() if _is_kind(kind)},
    **{kind.__name__: kind for kind in _OF_CLOCHE},
}


def declare(kinds: dict[str, type[BaseException]]) -> None:
    """The exceptions that the workflow has of its author's, by their qualified names: they are caught as what they are, and
    another class that happens to have the same name is not."""
    global _names_its_own
    _names_its_own = True
    _kinds.update({name: kind for name, kind in kinds.items() if _is_kind(kind)})
    _names.update({kind: name for name, kind in kinds.items()})


def know(names: dict[str, Any]) -> None:
    """The exceptions that a workflow's module defines or imports: where no qualified name says more, a failure of that name is
    raised as one."""
    _own.update({name: value for name, value in names.items() if _is_kind(value) and value not in _OF_CLOCHE})


def _kind_of(base: str) -> type[BaseException] | None:
    """The class of a qualified name. Modules are those that the workflow has imported."""
    if (known := _kinds.get(base)) is not None:
        return known
    module, _, name = base.rpartition(".")
    found: Any = None if module == "cloche" else getattr(sys.modules.get(module), name, None)
    return found if _is_kind(found) else None


def _kinds_of(name: str, bases: tuple[str, ...]) -> tuple[type[BaseException], ...]:
    """What a failure is an instance of, the nearest first."""
    if not bases:
        kinds = [_own.get(name) or _common.get(name)]
    else:
        kinds = [*([] if _names_its_own else [_own.get(name)]), *map(_kind_of, bases)]
    return tuple(dict.fromkeys(kind for kind in kinds if kind is not None))


@lru_cache(256)
def _class_of(name: str, kinds: tuple[type[BaseException], ...]) -> type[Failure]:
    """A class of that name which is all of them. Where there can be none, it is the nearest that can be beside `Failure`."""
    for some in (kinds, *[(kind,) for kind in kinds]):
        all_of: tuple[type[BaseException], ...] = (Failure, *some)
        parents = tuple(
            one for one in all_of if not any(other is not one and issubclass(other, one) for other in all_of)
        )
        if parents == (Failure,):
            continue
        with suppress(Exception):
            made: Any = type(name, parents, {**_OF_FAILURE, "__module__": "cloche"})
            _object(made, "", ())
            return made  # type: ignore[no-any-return]
    return Failure


# In the class itself, for an author's subclass of FatalError stands before `Failure`.
_OF_FAILURE: Final = {
    name: vars(Failure)[name] for name in ("__init__", "__str__", "name", "message", "data", "cause", "bases")
}


def _object(kind: Any, message: str, members: tuple[BaseException, ...]) -> Any:
    """An object of a class, past what the author's `__new__` wants."""
    native = kind
    while native.__flags__ & _HEAP_TYPE:
        native = native.__base__
    if issubclass(kind, BaseExceptionGroup):
        return native.__new__(kind, message, members or (Failure("a member that was left out"),))
    return native.__new__(kind, message)


# ── what enters ─────────────────────────────────────────────────────────────────────────────────────────────────────
def raised(failure: dict[str, Any]) -> Failure:
    """The exception a failure that enters becomes. Data that the author's exception held as attributes are attributes again."""
    cause, data, name = failure.get("cause"), failure.get("data", MISSING), failure["name"]
    bases, message = tuple(failure.get("bases", ())), failure["message"]
    members = tuple(raised(member) for member in failure.get("members", ()))
    made = None if cause is None else raised(cause)
    kinds = _kinds_of(name, bases)
    if members and not any(issubclass(kind, BaseExceptionGroup) for kind in kinds):
        kinds += (ExceptionGroup,)
    error: Failure = _object(_class_of(name, kinds), message, members)
    Failure.__init__(error, message, name=name, data=data, cause=made, bases=bases)
    if not message:
        BaseException.__setattr__(error, "args", ())
    if isinstance(data, dict) and (bases or type(error) is not Failure):
        for key, value in data.items():
            if not key.startswith("_") and key not in _OF_FAILURE:
                with suppress(AttributeError):  # the author has a property of that name
                    BaseException.__setattr__(error, key, value)
        for kind, names in _ARGUMENTS.items():
            if isinstance(error, kind) and "args" not in data and all(name in data for name in names):
                BaseException.__setattr__(error, "args", tuple(data[name] for name in names))
    if notes := failure.get("notes"):
        error.__dict__["__notes__"] = list(notes)
    return error


# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────
def shown(error: BaseException) -> str:
    name, message = _named(error)
    return f"{name}: {message}"


def _named(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Failure):
        return error._name, error._message
    try:
        text = str(error)
        if isinstance(error, BaseExceptionGroup):
            text += ": " + "; ".join(shown(one)[:200] for one in error.exceptions[:_MEMBERS_MAX])
        return type(error).__name__, text
    except Exception:
        return type(error).__name__, "an error that cannot be shown"


def failure_of(error: BaseException) -> dict[str, Any]:
    """A failure as data inside the workflow, as settled blocks give it."""
    name, message = _named(error)
    made: dict[str, Any] = {"name": name, "message": message}
    data = error._data if isinstance(error, Failure) else _attributes(error).get("data", MISSING)
    if data is not MISSING:
        made["data"] = data
    if isinstance(error.__cause__, Exception):
        made["cause"] = failure_of(error.__cause__)
    if isinstance(error, Failure) and error._bases:
        made["bases"] = list(error._bases)
    if notes := _notes(error):
        made["notes"] = notes
    if isinstance(error, BaseExceptionGroup):
        made["members"] = [failure_of(one) for one in error.exceptions]
    return made


class _Crossing:
    """One failure on its way out. `with_own`: the bases of what was raised in here are told too."""

    __slots__ = ("left", "with_own")

    def __init__(self, *, with_own: bool) -> None:
        self.left = _PARTS_MAX
        self.with_own = with_own

    def failure(self, error: BaseException, depth: int, around: tuple[BaseException, ...] = ()) -> dict[str, Any]:
        self.left -= 1
        name, message = _named(error)
        made: dict[str, Any] = {"name": name, "message": message}
        data = error._data if isinstance(error, Failure) else _data_of(error, depth)
        if data is not MISSING:
            with suppress(Exception):
                made["data"] = encoded(data, "data", depth + 1)
        if bases := self.bases(error):
            made["bases"] = bases
        if notes := _notes(error):
            made["notes"] = notes
        cause, around = error.__cause__, (*around, error)
        if isinstance(cause, Exception) and self.goes(cause, depth + 1, around):
            made["cause"] = self.failure(cause, depth + 1, around)
        if isinstance(error, BaseExceptionGroup):
            members = [one for one in error.exceptions[:_MEMBERS_MAX] if self.goes(one, depth + 2, around)]
            made["members"] = [self.failure(one, depth + 2, around) for one in members]
        return made

    def goes(self, error: BaseException, depth: int, around: tuple[BaseException, ...]) -> bool:
        """Its lists (bases, notes, members) lie one deeper than itself."""
        return depth + 1 < _DEPTH_MAX and self.left > 0 and all(error is not one for one in around)

    def bases(self, error: BaseException) -> list[str]:
        if isinstance(error, Failure) and error._bases is not None:
            return list(error._bases)
        if not self.with_own or type(error) is Failure:
            return []
        return [name for kind in type(error).__mro__ if (name := _qualified(kind)) is not None][:_BASES_MAX]


def crossing(error: BaseException, depth: int = 0, *, with_own: bool = False) -> dict[str, Any]:
    """The failure that goes out. Data that cannot cross is left out, and so is a cause that is too deep or around it."""
    made = _Crossing(with_own=with_own).failure(error, depth)
    if isinstance(error, (AttributeError, ImportError, NameError)) and type(error).__module__ == "builtins":
        made["message"] += near_name(error)
    return made


def _qualified(kind: type) -> str | None:
    """None of what has no name outside: a class of code that does not say where it is from."""
    if kind is object or ((name := _names.get(kind)) is None and kind.__module__ in ("workflow", "cloche")):
        return None
    name = name or f"{kind.__module__}.{kind.__qualname__}"
    return name if len(name) <= _NAME_CHARS_MAX else None


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    return [note for note in notes[:_NOTES_MAX] if type(note) is str] if type(notes) is list else []


def _attributes(error: BaseException) -> dict[str, Any]:
    return {key: value for key, value in getattr(error, "__dict__", {}).items() if not key.startswith("_")}


def _standard(error: BaseException) -> dict[str, Any]:
    """What Python itself keeps of an exception, as the host tells it: its `args` only where they are more than its text."""
    names = [name for kind, names in _STANDARD.items() if isinstance(error, kind) for name in names]
    found = {name: value for name in names if (value := getattr(error, name, None)) is not None}
    is_plain = type(error).__module__ == "builtins" and not isinstance(error, (BaseExceptionGroup, *_STANDARD))
    if (is_plain or isinstance(error, KeyError)) and error.args and error.args != (str(error),):
        found["args"] = list(error.args)
    return found


def _data_of(error: BaseException, depth: int) -> Any:
    """An exception's own attribute `data`, or all of its own that can cross; MISSING without any."""
    own = _attributes(error)
    if "data" in own:
        return own["data"]
    made = {}
    for key, value in {**_standard(error), **own}.items():
        try:
            encoded(value, key, depth + 2)
        except Exception:
            continue
        made[key] = value
    return made or MISSING
