"""CBOR as the guests write it (`guest/ABI.md`), and the refusals of what cannot cross: `wire_write.c`, in Python."""

from __future__ import annotations

import re
import struct
from typing import Final

from cloche.sandbox.faults import raise_fault

EVENT_OUTPUT_MAX: Final = 6 << 20
OUTPUT_TOO_LARGE: Final = -2
_KEY_BYTES_MAX: Final = 60
_MESSAGE_BYTES_MAX: Final = 600
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_float64: Final = struct.Struct(">Bd").pack


class Refused(Exception):
    """A value cannot cross; `place` are the keys that lead to it, the innermost first."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.place: list[str | int] = []


def refusal(root: str, refused: Refused) -> str:
    """Where in the value that `root` stands for, and why."""
    place = b"".join(map(_shown_key, reversed(refused.place)))
    message = (root.encode() + place + b" " + refused.why.encode())[:_MESSAGE_BYTES_MAX]
    return message.decode("utf-8", "replace")


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
