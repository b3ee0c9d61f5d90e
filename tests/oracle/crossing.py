"""Values on their way to a code string and back: a table of objects that refer to each other by number.

    slot  = null / bool / number / bigint / text
          / [0] undefined / [1, object] / [2, a small BigInt] / [3, why it cannot cross, text] / [4] a promise
    table = objects: [0, items…] list / [1, key, slot, …] map / [2, ms or null] Date / [3, bytes] / [4, error's fields…]

Objects of the answer are numbered after those that were given, so that one that was given comes back as itself.
"""

from __future__ import annotations

from typing import Any, Final

from cloche_codegen.conditions.values import MISSING
from oracle.values import BigInt, Binary, Error, Instant, Opaque
from oracle.writer import mended

_PROMISE: Final = Opaque("is a Promise", is_promise=True)


class Outgoing:
    """What a code string is given. `objects` are those of the table, in order."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def slot(self, value: Any) -> Any:
        if value is MISSING:
            return [0]
        if isinstance(value, BigInt):
            return [2, int(value)]
        if isinstance(value, str):
            return mended(value)
        if isinstance(value, Opaque):
            return [3, value.refusal, value.text]
        if value is None or isinstance(value, bool | int | float):
            return value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return [1, number]

    def table(self) -> list[Any]:
        """Written as it grows: an entry may add further objects."""
        entries: list[Any] = []
        while len(entries) < len(self.objects):
            entries.append(self._entry(self.objects[len(entries)]))
        return entries

    def _entry(self, value: Any) -> list[Any]:
        match value:
            case list():
                return [0, *map(self.slot, value)]
            case dict():
                entry: list[Any] = [1]
                for key, item in value.items():
                    entry += (mended(key), self.slot(item))
                return entry
            case Instant():
                return [2, value.ms]
            case bytes():
                return [3, bytes(value)]
            case _:
                return [
                    4,
                    value.name,
                    value.message,
                    self.slot(value.data),
                    self.slot(value.cause),
                    self.slot(value.extras),
                ]


class Incoming:
    """What a code string gave; `known` are the objects it was given."""

    def __init__(self, known: list[Any], table: list[Any]) -> None:
        self._objects = [*known, *map(_empty, table)]
        for entry, made in zip(table, self._objects[len(known) :], strict=True):
            self._fill(entry, made)

    def value(self, slot: Any) -> Any:
        match slot:
            case [0]:
                return MISSING
            case [1, number]:
                return self._objects[number]
            case [2, value]:
                return BigInt(value)
            case [3, why, text]:
                return Opaque(why, text)
            case [4]:
                return _PROMISE
            case _:
                return slot

    def _fill(self, entry: list[Any], made: Any) -> None:
        match made:
            case list():
                made.extend(map(self.value, entry[1:]))
            case dict():
                made.update((entry[i], self.value(entry[i + 1])) for i in range(1, len(entry), 2))
            case Error():
                made.name, made.message = entry[1], entry[2]
                made.data, made.cause, extras = map(self.value, entry[3:])
                made.extras = extras if isinstance(extras, dict) else {}


def _empty(entry: list[Any]) -> Any:
    match entry:
        case [0, *_]:
            return []
        case [1, *_]:
            return {}
        case [2, ms]:
            return Instant(ms)
        case [3, data]:
            return Binary(data)
        case _:
            return Error("", "")
