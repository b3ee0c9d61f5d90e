"""Values between the code of a run and its messages, without glass: `guest/python/src/write.c` and `read.c`, in Python.

A run that is pinned to the JavaScript guest keeps that one's values: a float that is an integer is written as one, and a date
as `toISOString` writes it, unless it came with what a Date cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloche.engines.code import Language
from cloche.engines.direct.writer import Output, Refused, mended, refusal
from cloche.history.check import DEPTH_MAX
from cloche.history.values import decode
from cloche.history.zones import TAG_ZONED, timestamp

_PLAIN, _TIMESTAMP, _REFUSED, _ZONED = range(4)  # what `values.convert` answers
_SAFE_INTEGER_MAX: Final = 2**53 - 1
_TOO_DEEP: Final = f"is nested deeper than {DEPTH_MAX}"


class Encoded(bytes):
    """A value as it crosses; a command may hold it in place of a value."""


class Data(dict[str, Any]):
    """A mapping with attribute access: `data.name` is the key `name` if there is one, else what every dict has.

    Names that begin with `__` are dict's alone. Setting and deleting work on keys.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__") and dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        return dict.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            return dict.__setattr__(self, name, value)
        return dict.__setitem__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not dict.__contains__(self, name):
            raise AttributeError(name)
        dict.__delitem__(self, name)


class Encoding:
    """How the values of a run cross. `convert` is that of the guest's `world/values.py`."""

    def __init__(self, language: Language, abi: int, convert: Callable[[Any], tuple[int, Any]]) -> None:
        self._is_javascript = language == "javascript"
        self._abi = abi
        self._convert = convert

    # ---- in ----

    def read(self, packed: bytes) -> Any:
        return self.received(decode(packed))

    def received(self, value: Any) -> Any:
        """What was decoded, as the guest's reader builds it: always new objects."""
        kind = type(value)
        if kind is dict:
            return Data((key, self.received(item)) for key, item in value.items())
        if kind is list or kind is tuple:
            return [self.received(item) for item in value]
        if not self._is_javascript:
            return value
        if kind is float:
            return as_number(value)
        return self._date(value) if isinstance(value, datetime) else value

    def _date(self, value: datetime) -> datetime:
        if self._abi > 1 and is_finer(value):
            return value
        return value.astimezone(UTC).replace(microsecond=value.microsecond // 1000 * 1000)

    # ---- out ----

    def encoded(self, value: Any, label: str, depth: int) -> Encoded:
        """
        Raises:
            TypeError: it cannot cross; the text names the place.
        """
        out = Output()
        out.begin_event()
        try:
            self._write(out, value, depth, [], in_command=False)
        except Refused as refused:
            raise TypeError(refusal(label, refused)) from None
        return Encoded(out)

    def write_command(self, out: Output, command: Any) -> None:
        self._write(out, command, -1, [], in_command=True)

    def _write(self, out: Output, value: Any, depth: int, around: list[Any], *, in_command: bool) -> None:
        kind = type(value)
        if kind is str:
            out.text(value)
        elif value is None:
            out.append(0xF6)
        elif kind is bool:
            out.append(0xF5 if value else 0xF4)
        elif kind is int:
            out.integer(value)
        elif kind is float:
            self._number(out, value)
        elif kind in _CONTAINERS:
            self._container(out, value, depth, around, in_command)
        elif kind is bytes:
            out.head(2, len(value))
            out.extend(value)
        elif kind is Encoded and in_command:
            out.extend(value)
        else:
            self._converted(out, value, depth, around, in_command)

    def _number(self, out: Output, value: float) -> None:
        number = as_number(value) if self._is_javascript else value
        if isinstance(number, int):
            out.integer(number)
        else:
            out.number(number)

    def _container(self, out: Output, value: Any, depth: int, around: list[Any], in_command: bool) -> None:
        if any(one is value for one in around):
            raise Refused("is a cycle")
        if depth >= DEPTH_MAX:
            raise Refused(_TOO_DEEP)
        around.append(value)
        if isinstance(value, dict):
            self._map(out, value, depth, around, in_command)
        else:
            out.head(4, len(value))
            for index, item in enumerate(value):
                try:
                    self._write(out, item, depth + 1, around, in_command=in_command)
                except Refused as refused:
                    refused.place.append(index)
                    raise
        around.pop()

    def _map(self, out: Output, value: dict[Any, Any], depth: int, around: list[Any], in_command: bool) -> None:
        entries = []
        for name, item in dict.items(value):
            if not isinstance(name, str):
                raise Refused("has a key that is not text: only text keys can cross")
            key = str.encode(mended(name))
            entries.append((len(key), key, name, item))
        entries.sort(key=lambda entry: entry[:2])
        out.head(5, len(entries))
        last = None
        for size, key, name, item in entries:
            try:
                if key == last:
                    raise Refused("is there twice: its key has lone surrogates")
                out.head(3, size)
                out.extend(key)
                self._write(out, item, depth + 1, around, in_command=in_command)
            except Refused as refused:
                refused.place.append(name)
                raise
            last = key

    def _converted(self, out: Output, value: Any, depth: int, around: list[Any], in_command: bool) -> None:
        """What is of none of the codec's own types."""
        if any(one is value for one in around):
            raise Refused("is a cycle")
        if self._is_javascript and type(value) is datetime and value.tzinfo is not None:
            return self._instant(out, value)
        how, became = self._convert(value)
        if how in (_TIMESTAMP, _ZONED):
            out.head(6, 0 if how == _TIMESTAMP else TAG_ZONED)
            return out.text(became)
        if how != _PLAIN:
            raise Refused(became)
        around.append(value)
        self._write(out, became, depth, around, in_command=in_command)
        around.pop()
        return None

    def _instant(self, out: Output, value: datetime) -> None:
        if is_finer(value) and self._abi > 1:
            tag, text = timestamp(value)
        else:
            moment = value.astimezone(UTC).replace(tzinfo=None)
            tag, text = 0, moment.isoformat(timespec="milliseconds") + "Z"
        out.head(6, tag)
        out.text(text)


def is_finer(value: datetime) -> bool:
    """Whether it has what JavaScript's Date cannot hold."""
    return bool(value.microsecond % 1000) or isinstance(value.tzinfo, ZoneInfo)


def as_number(value: float) -> float | int:
    """A float in the one form that JavaScript's number has here."""
    if value.is_integer() and -_SAFE_INTEGER_MAX <= value <= _SAFE_INTEGER_MAX and (value or str(value)[0] != "-"):
        return int(value)
    return value


_CONTAINERS: Final = frozenset({dict, list, tuple, Data})
