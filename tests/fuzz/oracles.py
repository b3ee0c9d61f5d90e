"""What Python says of the same bytes, and which lines it took to say so.

The codec in C and the one in Python read the same encoding (`guest/ABI.md`): what the one accepts the other accepts, and what
JavaScript makes of a value is known beforehand. `judge_value` and `judge_output` raise `Finding` where that is not so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import CodeType, FrameType, ModuleType
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import cbor2

from cloche.errors import ClocheError, MalformedOutput
from cloche.history import check, output, values
from cloche.history.output import split_output, unpack_command
from cloche.history.zones import TAG_ZONED

REFUSED, CAME_BACK, CANNOT_CROSS = range(3)
SAFE_MAX: Final = 2**53 - 1
_ZONED: Final = re.compile(rb"((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))\[[^\]]*\])")
_TEXT: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)")
T = TypeVar("T")


class Finding(AssertionError):
    """The two sides differ, or one of them breaks its word."""


# ---- values ----------------------------------------------------------------------------------------------------------


def judge_value(data: bytes, outcome: int, consumed: int, output: bytes) -> None:
    """`outcome`, `consumed` and `output` are what C made of `data`, a value directly below a message.

    Raises:
        Finding: Python makes something else of it.
    """
    expected = through_javascript(data)
    if expected != ((outcome, consumed, output) if outcome else None):
        got = f"{('refused', 'came back', 'cannot cross')[outcome]}, {consumed} bytes, {output.hex()}"
        raise Finding(f"{data.hex()}\nC: {got}\nPython: {expected}")


def through_javascript(data: bytes) -> tuple[int, int, bytes] | None:
    """How the value at the beginning of `data` comes back from JavaScript: outcome, its size, bytes; None if malformed."""
    try:
        size = check.check(b"\x81" + data) - 1  # a message around it, for its depth
    except MalformedOutput:
        return None
    value = values.decode(data[:size])
    try:
        return CAME_BACK, size, values.encode_plain(_back(value, data[:size]))
    except OverflowError:
        return CANNOT_CROSS, size, b""


def _back(value: Any, data: bytes) -> Any:
    """Integral numbers have no other form there, and instants have milliseconds and no offset, unless they have more digits."""
    match value:
        case float() if value.is_integer() and abs(value) <= SAFE_MAX and (value or str(value) == "0.0"):
            return int(value)
        case datetime():
            return _instant(value, data)
        case list():
            return [_back(item, data) for item in value]
        case dict():
            return {key: _back(item, data) for key, item in value.items()}
    return value


def _instant(moment: datetime, data: bytes) -> Any:
    """One with more digits than a Date has comes back in the text that it came in, somewhere in `data`; a zone stays, also
    one that this machine does not know."""
    if isinstance(moment.tzinfo, ZoneInfo):
        return moment
    for text, instant in _ZONED.findall(data):
        with suppress(ValueError):
            if datetime.fromisoformat(instant.decode()) == moment:
                return cbor2.CBORTag(TAG_ZONED, text.decode())
    if moment.microsecond % 1000:
        for text in _TEXT.findall(data):
            with suppress(ValueError):
                if datetime.fromisoformat(text.decode()) == moment:
                    return cbor2.CBORTag(0, text.decode())
    return _javascript_date(moment)


def _javascript_date(moment: datetime) -> cbor2.CBORTag:
    utc = (moment - (moment.utcoffset() or timedelta())).replace(tzinfo=UTC)  # may leave the years 1 to 9999
    return cbor2.CBORTag(0, f"{utc:%m-%dT%H:%M:%S}".join((f"{utc.year:04}-", f".{utc.microsecond // 1000:03}Z")))


# ---- events ------------------------------------------------------------------------------------------------------------


def judge_events(data: bytes) -> None:
    """`data` are events that C took, one and all.

    Raises:
        Finding: they are no sequence in our encoding.
    """
    at = 0
    try:
        while at < len(data):
            at = check.check(data, at)
    except MalformedOutput as error:
        raise Finding(f"{data.hex()}\nC took it. Python: {error}") from error


# ---- the output of a guest ---------------------------------------------------------------------------------------------


def judge_output(output: bytes) -> None:
    """`output` is what a guest wrote: well formed, and canonical.

    Raises:
        Finding: the host would take it for malformed, or for something else.
    """
    try:
        events = list(split_output(output))
    except MalformedOutput as error:
        raise Finding(f"{output.hex()}\n{error}") from error
    for command in (command for commands in events for command in commands):
        again = values.encode_plain(_with_milliseconds(values.decode(command), command))
        if again != command:
            raise Finding(f"{command.hex()}\nPython writes {again.hex()}")
        read_command(command)


def _with_milliseconds(value: Any, data: bytes) -> Any:
    match value:
        case datetime():
            return _instant(value, data)
        case list():
            return [_with_milliseconds(item, data) for item in value]
        case dict():
            return {key: _with_milliseconds(item, data) for key, item in value.items()}
    return value


def read_command(data: bytes) -> None:
    """Whatever a guest writes is a command or a typed refusal."""
    try:
        unpack_command(data)
    except ClocheError:
        return


def judge_messages(data: bytes) -> None:
    """`data` as the output of a guest that is not ours: a typed refusal, or commands that are what they say."""
    try:
        commands = [command for commands in split_output(data) for command in commands]
    except MalformedOutput:
        return
    for command in commands:
        read_command(command)


# ---- ways through Python -----------------------------------------------------------------------------------------------


class Ways:
    """Which steps from line to line the host's decoders took, so far, and those of `more` modules."""

    def __init__(self, *more: ModuleType) -> None:
        self.seen: set[tuple[CodeType, int, int]] = set()
        self._files = {module.__file__ for module in (values, check, output, *more)}

    def took_a_new_one(self, function: Callable[..., object], *arguments: object) -> bool:
        """Calls `function`. Costs about four times its time, which for small inputs is little."""
        before = len(self.seen)
        outside = sys.gettrace()
        sys.settrace(self._enter)
        try:
            function(*arguments)
        finally:
            sys.settrace(outside)
        return len(self.seen) > before

    def _enter(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if code.co_filename not in self._files:
            return None
        seen, last = self.seen, 0

        def step(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            nonlocal last
            line = frame.f_lineno
            seen.add((code, last, line))
            last = line
            return step

        return step
