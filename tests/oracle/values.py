"""JavaScript's values as the interpreter holds them, where Python's own would say something else.

Text, booleans, None, lists and dicts are themselves, and `MISSING` is undefined. An int is a number up to 2^53 - 1 in size
and a BigInt beyond, a float is any other number: one that is integral and safe is an int, as it would cross. Identity is
kept as JavaScript keeps it (a value flows on as the same object), because a predicate can ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloche.engines.code import Language
from cloche.history.values import ABI
from cloche.history.zones import TAG_TIMESTAMP, timestamp
from cloche_codegen.conditions.values import MISSING, json_text, text_of

SAFE_INTEGER_MAX: Final = 2**53 - 1
INSTANT_MS_MAX: Final = 8_640_000_000_000_000  # what a Date can hold
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_ONE_MS: Final = -62_135_596_800_000
_CYCLE_MS: Final = 146_097 * 86_400_000  # 400 years
_YEAR_9999_END_MS: Final = 253_402_300_799_999


class BigInt(int):
    """A BigInt that a number could hold: only a code string makes one."""

    __slots__ = ()


class Binary(bytes):
    """A Uint8Array. Equal ones are two objects, which Python's `b""` are not."""

    __slots__ = ()


class Instant:
    """A Date: milliseconds since 1970, None if invalid."""

    __slots__ = ("ms",)

    def __init__(self, ms: int | None) -> None:
        self.ms = ms

    def __str__(self) -> str:
        """As `toISOString` writes it.

        Raises:
            Thrown: it is invalid.
        """
        if self.ms is None:
            raise Thrown(Error("RangeError", "Date value is NaN"))
        cycles = (self.ms - _YEAR_ONE_MS) // _CYCLE_MS if not _YEAR_ONE_MS <= self.ms <= _YEAR_9999_END_MS else 0
        moment = EPOCH + timedelta(milliseconds=self.ms - cycles * _CYCLE_MS)  # Python has the years 1 to 9999 only
        year = moment.year + 400 * cycles
        shown = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}"
        return f"{shown}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    @property
    def crossing(self) -> tuple[int, str]:
        """Its tag and its text, where it can cross."""
        return TAG_TIMESTAMP, str(self)

    @property
    def refusal(self) -> str | None:
        """Why it cannot cross."""
        if self.ms is None:
            return "is an invalid Date"
        if not _YEAR_ONE_MS <= self.ms <= _YEAR_9999_END_MS:
            return "is a Date outside of the years 0001 to 9999"
        return None


class Moment(Instant):
    """A date that crosses as it came, with its microseconds, its offset and its zone."""

    __slots__ = ("moment",)

    def __init__(self, moment: datetime) -> None:
        super().__init__(_ms(moment))
        self.moment = moment

    @property
    def crossing(self) -> tuple[int, str]:
        return timestamp(self.moment)


@dataclass(frozen=True, slots=True)
class Opaque:
    """What a code string gave and cannot cross: a function, a Map …; `refusal` is the guest's own word on it."""

    refusal: str
    text: str = "{}"  # how a message shows it
    is_promise: bool = False


@dataclass(eq=False, slots=True)
class Error:
    """An Error. `data` is its own property of that name; `extras` are the author's further ones. `bases`, `notes` and `errors`
    are those of a failure that came in."""

    name: str
    message: str
    data: Any = MISSING
    cause: Any = MISSING
    extras: dict[str, Any] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class Thrown(Exception):
    """What JavaScript throws, on its way up: an `Error` or a `NoError`."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


@dataclass(eq=False, slots=True)
class NoError:
    """Something that is no Error and was thrown all the same, with its text."""

    value: Any
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False, slots=True)
class Bail:
    """What the call of a step that bailed is rejected with: it ends the innermost workflow, well, with `value`."""

    value: Any


def received(value: Any, language: Language, abi: int = ABI) -> Any:
    """What was decoded, as the guest's reader builds it: always new objects.

    Python keeps what JavaScript does not: 1.0 is no integer, and a date has an offset. What a Date cannot hold (microseconds, a
    zone) goes out again as it came, since ABI 2.
    """
    kind = type(value)
    if kind is dict:
        return {key: received(item, language, abi) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [received(item, language, abi) for item in value]
    if kind is float:
        return value if language == "python" else number(value)
    if kind is bytes:
        return Binary(value)
    if isinstance(value, datetime):
        return Moment(value) if language == "python" or (abi > 1 and _is_finer(value)) else Instant(_ms(value))
    return value


def _is_finer(value: datetime) -> bool:
    return bool(value.microsecond % 1000) or isinstance(value.tzinfo, ZoneInfo)


def _ms(value: datetime) -> int:
    return (value - EPOCH) // timedelta(milliseconds=1)


def number(value: float) -> float | int:
    """A float in the one form that JavaScript's number has here."""
    if value.is_integer() and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX and (value or str(value)[0] != "-"):
        return int(value)
    return value


def error_of(failure: dict[str, Any], language: Language, abi: int = ABI) -> Error:
    """The Error that a failure becomes when it enters."""
    cause = error_of(failure["cause"], language, abi) if "cause" in failure else MISSING
    data = received(failure["data"], language, abi) if "data" in failure else MISSING
    error = Error(failure["name"], failure["message"], data, cause)
    error.bases, error.notes = list(failure.get("bases", ())), list(failure.get("notes", ()))
    error.errors = [error_of(member, language, abi) for member in failure.get("members", ())]
    return error


def named(name: str, message: str, cause: Any = MISSING) -> Thrown:
    return Thrown(Error(name, message, cause=cause))


def type_error(message: str) -> Error:
    return Error("TypeError", message)


def failure_of(thrown: Any) -> dict[str, Any]:
    """A failure as data inside the workflow, as settled blocks give it."""
    if isinstance(thrown, NoError):
        return defined({"name": "Error", "message": thrown.text, "data": thrown.value})
    cause = failure_of(thrown.cause) if isinstance(thrown.cause, Error) else MISSING
    return defined(
        {
            "name": thrown.name,
            "message": thrown.message,
            "data": thrown.data,
            "cause": cause,
            "bases": list(thrown.bases) or MISSING,
            "notes": list(thrown.notes) or MISSING,
            "members": [failure_of(one) for one in thrown.errors] or MISSING,
        }
    )


def defined(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not MISSING}


def shown(value: Any) -> str:
    """How a template shows a value."""
    return str(value) if isinstance(value, Instant) else text_of(_without_missing(value))


def json_shown(value: Any) -> str:
    """Compact JSON, for messages."""
    if isinstance(value, Opaque):
        return value.text
    return json_text(_without_missing(value))


def _without_missing(value: Any) -> Any:
    """Undefined fields do not show; an Error has no keys to show."""
    if isinstance(value, dict):
        return {key: _without_missing(item) for key, item in value.items() if item is not MISSING}
    if isinstance(value, list):
        return [_without_missing(item) for item in value]
    return {} if isinstance(value, Error) else value
