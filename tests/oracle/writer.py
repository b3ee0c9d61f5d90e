"""Commands as the guest writes them: CBOR of `guest/ABI.md`, and the refusals of what cannot cross.

As `guest/js/src/cbor_write.c` and `failures.c`: what can be written is written and otherwise taken back, by the same rules
and with the same words.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Final

from cloche.history.check import DEPTH_MAX
from cloche.sandbox.faults import raise_fault
from cloche_codegen.conditions.values import MISSING
from oracle.values import Error, NoError

EVENT_OUTPUT_MAX: Final = 6 << 20
OUTPUT_TOO_LARGE: Final = -2
LISTED_MAX: Final = 16  # bases, notes and members of a failure
_KEY_BYTES_MAX: Final = 60
_MESSAGE_BYTES_MAX: Final = 600
_TOO_DEEP: Final = f"is nested deeper than {DEPTH_MAX}"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_float64: Final = struct.Struct(">Bd").pack


class Refused(Exception):
    """A value cannot cross; `place` are the keys that lead to it, the innermost first."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.place: list[str | int] = []

    def error(self, root: str, value: Any) -> Error:
        """The TypeError that names the place in `value`, which `root` stands for."""
        keys, why = self.place[::-1], self.why
        if why == _TOO_DEEP and (length := _cycle(value, keys)):
            keys, why = keys[:length], "is a cycle"
        message = (root.encode() + b"".join(map(_shown_key, keys)) + b" " + why.encode())[:_MESSAGE_BYTES_MAX]
        return Error("TypeError", message.decode("utf-8", "replace"))


def _cycle(value: Any, keys: list[Any]) -> int:
    """After how many of the keys a value comes back to one around it; 0 if it never does."""
    around = [value]
    for length, key in enumerate(keys, 1):
        value = value[key]
        if any(value is one for one in around):
            return length
        around.append(value)
    return 0


def _shown_key(key: str | int) -> bytes:
    if isinstance(key, int):
        return b"[%d]" % key
    shown = mended(key).encode()[:_KEY_BYTES_MAX]
    return b"." + shown if _IDENTIFIER.fullmatch(key) else b'["' + shown + b'"]'


def mended(text: str) -> str:
    """Lone surrogates become U+FFFD, pairs the character they are."""
    if _SURROGATE.search(text) is None:
        return text
    whole = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    return _SURROGATE.sub("\ufffd", whole)


class Output(bytearray):
    """The output of one turn. `begin_event` sets where the bound of the next event's output is."""

    limit = EVENT_OUTPUT_MAX

    def begin_event(self) -> None:
        self.limit = len(self) + EVENT_OUTPUT_MAX - 1

    def check(self) -> None:
        """Stop an event that has led to more than may leave (OutputTooLarge)."""
        if len(self) > self.limit:
            raise_fault(OUTPUT_TOO_LARGE, "in a turn")

    # ---- items ----

    def head(self, major: int, argument: int) -> None:
        if argument < 24:
            self.append(major << 5 | argument)
        else:
            size = 1 if argument <= 0xFF else 2 if argument <= 0xFFFF else 4 if argument <= 0xFFFFFFFF else 8
            self.append(major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[size])
            self.extend(argument.to_bytes(size, "big"))

    def text(self, text: str) -> None:
        encoded = text.encode() if text.isascii() else mended(text).encode()
        self.head(3, len(encoded))
        self.extend(encoded)

    def integer(self, value: int) -> None:
        negative = value < 0
        argument = -1 - value if negative else value
        if argument < 1 << 64:
            self.head(1 if negative else 0, argument)
        else:
            size = (argument.bit_length() + 7) // 8
            self.head(6, 3 if negative else 2)
            self.head(2, size)
            self.extend(argument.to_bytes(size, "big"))

    def number(self, value: float) -> None:
        if value != value:
            self.extend(b"\xf9\x7e\x00")
        elif value in (float("inf"), float("-inf")):
            self.extend(b"\xf9\x7c\x00" if value > 0 else b"\xf9\xfc\x00")
        else:
            self.extend(_float64(0xFB, value))

    # ---- values ----

    def value(self, value: Any, depth: int) -> None:
        """Write a value that stands inside `depth` containers.

        Raises:
            Refused: it cannot cross; what was written of it must be taken back.
        """
        match value:
            case str():
                self.text(value)
            case None:
                self.append(0xF6)
            case bool():
                self.append(0xF5 if value else 0xF4)
            case int():
                self.integer(value)
            case dict():
                self._map(value, depth)
            case list():
                self._list(value, depth)
            case float():
                self.number(value)
            case bytes():
                self.head(2, len(value))
                self.extend(value)
            case _:
                self._uncommon(value, depth)

    def _uncommon(self, value: Any, depth: int) -> None:
        if value is MISSING:
            self.append(0xF6)
        elif isinstance(value, Error):
            self._enter(depth)
            self.failure(value, depth)
        elif value.refusal is not None:
            raise Refused(value.refusal)
        else:
            tag, text = value.crossing
            self.head(6, tag)
            self.text(text)

    def _enter(self, depth: int) -> None:
        self.check()
        if depth >= DEPTH_MAX:
            raise Refused(_TOO_DEEP)

    def _list(self, items: list[Any], depth: int) -> None:
        self._enter(depth)
        self.head(4, len(items))
        for index, item in enumerate(items):
            try:
                self.value(item, depth + 1)
            except Refused as refused:
                refused.place.append(index)
                raise

    def _map(self, fields: dict[str, Any], depth: int) -> None:
        self._enter(depth)
        entries = [(key if key.isascii() else mended(key), key) for key, item in fields.items() if item is not MISSING]
        keys = sorted((len(key), key, own) for key, own in ((mended.encode(), own) for mended, own in entries))
        self.head(5, len(keys))
        last = None
        for size, key, own in keys:
            try:
                if key == last:
                    raise Refused("is there twice: its key has lone surrogates")
                self.head(3, size)
                self.extend(key)
                self.value(fields[own], depth + 1)
            except Refused as refused:
                refused.place.append(own)
                raise
            last = key

    def could(self, value: Any, depth: int) -> bool:
        """Write it if it can cross."""
        mark = len(self)
        try:
            self.value(value, depth)
        except Refused:
            del self[mark:]
            return False
        return True

    # ---- failures ----

    def failure(self, thrown: Any, depth: int, around: tuple[Any, ...] = ()) -> None:
        """Whatever was thrown, as a failure. A cause that is `around` it already is left out."""
        if isinstance(thrown, NoError):
            thrown = Error("Error", thrown.text, thrown.value)
        else:
            around = (*around, thrown)
        head = len(self)
        self.append(0)
        count = 2
        data = thrown.data if thrown.data is not MISSING else self._further(thrown, depth)
        if data is not MISSING:
            mark = len(self)
            self.extend(b"\x64data")
            if self.could(data, depth + 1):
                count += 1
            else:
                del self[mark:]
        self.extend(b"\x64name")
        self.text(thrown.name)
        count += self._texts(b"\x65bases", thrown.bases)
        if isinstance(thrown.cause, Error) and _goes(thrown.cause, depth + 1, around):
            self.extend(b"\x65cause")
            self.failure(thrown.cause, depth + 1, around)
            count += 1
        count += self._texts(b"\x65notes", thrown.notes)
        if members := [one for one in thrown.errors[:LISTED_MAX] if _goes(one, depth + 2, around)]:
            self.extend(b"\x67members")
            self.head(4, len(members))
            for one in members:
                self.failure(one, depth + 2, around)
            count += 1
        self.extend(b"\x67message")
        self.text(thrown.message)
        self[head] = 0xA0 | count

    def _texts(self, key: bytes, texts: list[str]) -> int:
        """How many entries that makes."""
        if not texts:
            return 0
        self.extend(key)
        self.head(4, len(texts[:LISTED_MAX]))
        for one in texts[:LISTED_MAX]:
            self.text(one)
        return 1

    def _further(self, error: Error, depth: int) -> Any:
        """The author's properties that can cross, MISSING if there are none."""
        mark = len(self)
        crossing = {}
        for name, value in error.extras.items():
            if self.could(value, depth + 2):
                crossing[name] = value
            del self[mark:]
        return crossing or MISSING


def _goes(error: Error, depth: int, around: tuple[Any, ...]) -> bool:
    return depth < DEPTH_MAX and all(error is not one for one in around)
