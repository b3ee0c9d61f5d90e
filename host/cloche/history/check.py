"""Bytes from a guest: one pass over their encoding before anything is built from them.

What is accepted is exactly the encoding of `guest/ABI.md`: definite lengths within the bytes left, shortest heads, float64,
text keys sorted and unique, tags 0, 2, 3 and 9557 on what they belong to, depth at most 64 below the message.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from cbor2 import loads

from cloche.errors import MalformedOutput
from cloche.history.bounds import Bounds, exceeded
from cloche.history.zones import TAG_ZONED, read_tagged, split_zone

DEPTH_MAX = 64  # containers below the message, here and in every guest
LARGE_BYTES = 256  # a validator in compiled code costs 4 µs and then 3 µs a kilobyte, `check` 50
NULL = 0xF6
BREAK = 0xFF  # no item of ours begins with it

# Walks a CBOR sequence: of each item its end, the items in it and their depth. None: something is wrong, `check` names it.
Validator: TypeAlias = Callable[[bytes], Iterable[tuple[int, int, int]] | None]


def ends(data: bytes, bounds: Bounds | None = None, validator: Validator | None = None) -> Iterator[int]:
    """Where each item of a CBOR sequence ends; each is checked as by `check`, and raises as that does.

    `validator` does the same for large messages, faster.
    """
    at, size = 0, len(data)
    found = validator(data) if validator is not None and size >= LARGE_BYTES else None
    if found is None:
        while at < size:
            at = at + 1 if data[at] == NULL else check(data, at, bounds)
            yield at
        return
    for end, items, depth in found:
        if bounds is not None and (
            items > bounds.value_items or depth > bounds.value_depth or end - at > bounds.payload_bytes
        ):
            check(data, at, bounds)
        yield end
        at = end


def decode_sequence(data: bytes) -> list[Any]:
    """The items of a CBOR sequence (RFC 8742) that nobody has checked yet.

    Raises:
        MalformedOutput: it is not one in our encoding.
    """
    at, items = 0, []
    while at < len(data):
        end = check(data, at)
        items.append(loads(data[at:end], tag_hook=read_tagged))
        at = end
    return items


def check(data: bytes, at: int = 0, bounds: Bounds | None = None) -> int:
    """Walk the one item that begins at `at` and return where it ends; nothing is built.

    Raises:
        MalformedOutput: with the offset and what is wrong there.
        LimitExceeded: it is in the grammar, and more than `bounds` allow.
    """
    size, begin, items = len(data), at, 0
    outer: list[tuple[int, bytes | None]] = []  # `remaining` and `last_key` of each container around
    remaining = 1  # items still to come; a map counts its keys and values
    last_key: bytes | None = None  # None in a list
    while True:
        while remaining == 0:
            if not outer:
                return _within(bounds, begin, at)
            remaining, last_key = outer.pop()
        remaining -= 1
        is_key = last_key is not None and remaining % 2 == 1
        start = at
        # What most items are, seen at once: a head costs a call, and all of this four to ten times as much as decoding.
        first = data[at] if at < size else BREAK
        if first < 0x60 or first > 0x77:
            if _ONE_BYTE[first] and not is_key:
                at += 1
                continue
        elif (text := data[at : at + first - 0x5F]).isascii() and len(text) == first - 0x5F:
            if is_key:
                if last_key and text <= last_key:
                    raise _malformed(start, _UNSORTED)
                last_key = text
            at += first - 0x5F
            continue
        major, argument, at = _head(data, at, size)
        if is_key:
            last_key = _key(data, start, at, size, major, argument, last_key)
        if major != 4 and major != 5:
            at = _end_of_leaf(data, at, size, major, argument, start)
            continue
        count = _count(major, argument, size - at, len(outer), start)
        items += count
        outer.append((remaining, last_key))
        if bounds is not None and (items > bounds.value_items or len(outer) > bounds.value_depth + 1):
            raise _too_much(bounds, items, len(outer))
        remaining, last_key = count, b"" if major == 5 else None


_UNSORTED = "map keys are not sorted or not unique"
_ONE_BYTE = bytes(first < 0x18 or 0x20 <= first < 0x38 or 0xF4 <= first <= 0xF6 for first in range(256))


def _within(bounds: Bounds | None, begin: int, end: int) -> int:
    if bounds is not None and end - begin > bounds.payload_bytes:
        raise exceeded("payload_bytes", bounds.payload_bytes, end - begin, "a message")
    return end


def _too_much(bounds: Bounds, items: int, containers: int) -> Exception:
    if items > bounds.value_items:
        return exceeded("value_items", bounds.value_items, items, "a message")
    return exceeded("value_depth", bounds.value_depth, containers - 1, "a message")


def _key(data: bytes, start: int, at: int, size: int, major: int, argument: int, last_key: bytes | None) -> bytes:
    """The bytes of a key, which comes after the last one of its map. Keys are compared with their heads: shorter ones first."""
    if major != 3:
        raise _malformed(start, "a map key is not text")
    if argument > size - at:
        raise _malformed(start, "a text is longer than what is left")
    key = data[start : at + argument]
    if last_key and key <= last_key:
        raise _malformed(start, _UNSORTED)
    return key


def _count(major: int, argument: int, left: int, depth: int, start: int) -> int:
    """How many items a container has: a map two for each pair. Each takes a byte at least, and `left` are left."""
    if depth > DEPTH_MAX:
        raise _malformed(start, f"nested deeper than {DEPTH_MAX}")
    count = argument if major == 4 else 2 * argument
    if count > left:
        raise _malformed(start, "more items are announced than bytes are left")
    return count


def _end_of_leaf(data: bytes, at: int, size: int, major: int, argument: int, start: int) -> int:
    """Where an item that holds no others ends; its head ends at `at`."""
    if major == 6:
        return _check_tagged(data, at, size, argument, start)
    if major == 2 or major == 3:
        if argument > size - at:
            raise _malformed(start, "a string is longer than what is left")
        if major == 3:
            _check_text(data, at, at + argument, start)
        return at + argument
    return at


def _head(data: bytes, at: int, size: int) -> tuple[int, int, int]:
    """Major type, argument and the offset after the head (RFC 8949 section 3)."""
    if at >= size:
        raise _malformed(at, "the message ends in the middle")
    first = data[at]
    major, info = first >> 5, first & 31
    at += 1
    if major == 7:
        return 7, 0, _simple_end(data, at, size, info)
    if info < 24:
        return major, info, at
    if info > 27:
        raise _malformed(at - 1, "indefinite or reserved length")
    width = 1 << (info - 24)
    if width > size - at:
        raise _malformed(at - 1, "the message ends in the middle")
    argument = int.from_bytes(data[at : at + width], "big")
    if argument < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
        raise _malformed(at - 1, "a head is longer than it needs to be")
    return major, argument, at + width


_NOT_FINITE = (b"\x7c\x00", b"\xfc\x00", b"\x7e\x00")


def _simple_end(data: bytes, at: int, size: int, info: int) -> int:
    if info in (20, 21, 22):
        return at
    if info == 25 and data[at : at + 2] in _NOT_FINITE:
        return at + 2
    if info == 27 and at + 8 <= size:
        if not math.isfinite(struct.unpack_from(">d", data, at)[0]):
            raise _malformed(at - 1, "a float that is not finite has its own short form")
        return at + 8
    raise _malformed(at - 1, "a simple value or float that is not in the grammar")


def _check_tagged(data: bytes, at: int, size: int, tag: int, start: int) -> int:
    wanted = {0: 3, 2: 2, 3: 2, TAG_ZONED: 3}.get(tag)
    if wanted is None:
        raise _malformed(start, f"tag {tag} is not in the grammar")
    major, length, at = _head(data, at, size)
    if major != wanted or length > size - at:
        raise _malformed(start, f"tag {tag} stands before something else than it should")
    content = data[at : at + length]
    if tag == 0 or tag == TAG_ZONED:
        _check_timestamp(content if tag == 0 else _before_zone(content), start)
    elif length <= 8 or content[0] == 0:
        raise _malformed(start, "a big integer that fits an integer, or has leading zeros")
    return at + length


# What the guests read and write: RFC 3339 without a leap second, with at most nine digits after the point. Python's own
# parser takes all of ISO 8601, week dates and commas included.
_RFC_3339 = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)")


def _before_zone(content: bytes) -> bytes:
    """What stands before a time zone in brackets; nothing if there is none."""
    found = split_zone(content.decode("latin-1"))
    return found[0].encode("latin-1") if found is not None else b""


def _check_timestamp(content: bytes, start: int) -> None:
    try:
        ok = _RFC_3339.fullmatch(content) is not None and datetime.fromisoformat(content.decode()) is not None
    except ValueError:
        ok = False
    if not ok:
        raise _malformed(start, "a timestamp that is not RFC 3339")


def _check_text(data: bytes, at: int, end: int, start: int) -> None:
    try:
        data[at:end].decode()
    except UnicodeDecodeError:
        raise _malformed(start, "text that is not UTF-8") from None


def _malformed(at: int, what: str) -> MalformedOutput:
    return MalformedOutput(f"the guest wrote a malformed message: {what} (byte {at})", offset=at)
