"""Values across the glass: Python objects to CBOR and back (`guest/ABI.md`, DESIGN section 5).

`plain` turns what an author's code returned into values of the message grammar, `encode` writes them in the one
deterministic form (RFC 8949 section 4.2.1, float64 profile), `decode` reads bytes that were checked. `check` is for bytes
from a guest: one pass over the encoding before anything is built from it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import cbor2

from cloche.errors import InvalidInput, MalformedOutput
from cloche.history.bounds import Bounds, exceeded

if TYPE_CHECKING:
    from pydantic import BaseModel

Value: TypeAlias = "None | bool | int | float | str | bytes | datetime | list[Value] | dict[str, Value]"

DEPTH_MAX = 64  # containers below the message, here and in every guest
_ATOMS = frozenset({type(None), bool, int, float, bytes})


def encode(value: Any) -> bytes:
    """`value` as deterministic CBOR.

    Raises:
        InvalidInput: something in it cannot cross; `path` names the place (`items[3].cb`).
    """
    return cbor2.dumps(plain(value))


def encode_plain(value: Any) -> bytes:
    """As `encode`, for values made by cloche itself: already plain, keys already in order."""
    return cbor2.dumps(value)


def decode(data: bytes) -> Any:
    """The value of `data`, which this process wrote or has checked."""
    return cbor2.loads(data)


def decode_sequence(data: bytes) -> list[Any]:
    """The items of a CBOR sequence (RFC 8742) that nobody has checked yet.

    Raises:
        MalformedOutput: it is not one in our encoding.
    """
    at, items = 0, []
    while at < len(data):
        end = check(data, at)
        items.append(decode(data[at:end]))
        at = end
    return items


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """`value` in the terms of the message grammar: mappings sorted by encoded key, everything else as the table says.

    Nothing of the result is shared with `value`, so that later changes by the author do not reach it.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is str:
        return _text(value)
    if kind is dict:
        return _mapping(value, path, depth)
    if kind is list or kind is tuple:
        _check_depth(path, depth)
        return [plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _uncommon(value, path, depth)


def _check_depth(path: str, depth: int) -> None:
    """`depth` containers are around the one that begins here."""
    if depth >= DEPTH_MAX:
        raise InvalidInput(
            f"{path or 'the value'} is nested deeper than {DEPTH_MAX}; pass a reference instead", path=path
        )


def _text(value: str) -> str:
    """A lone surrogate is no character (Unicode 3.9) and cannot be UTF-8: it becomes U+FFFD, as in the guest."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _mapping(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    _check_depth(path, depth)
    pairs = []
    for key, item in value.items():
        if not isinstance(key, str) or isinstance(key, Enum):
            name = f"{path}[{key!r}]"
            raise InvalidInput(f"{name} has a key that is not text: only text keys can cross the glass", path=name)
        text = _text(str(key))
        pairs.append((text, plain(item, f"{path}.{text}" if path else text, depth + 1)))
    pairs.sort(key=_key_order)
    mapping = dict(pairs)
    if len(mapping) != len(pairs):  # only lone surrogates can do this: two of them become the same U+FFFD
        name = path or "the value"
        raise InvalidInput(f"{name} has two keys that are the same text once they are UTF-8", path=path)
    return mapping


def _key_order(pair: tuple[str, Any]) -> tuple[int, bytes]:
    encoded = pair[0].encode()
    return len(encoded), encoded


def _uncommon(value: Any, path: str, depth: int) -> Any:
    from pydantic import BaseModel

    match value:
        case BaseModel():
            return plain(_fields(value, path), path, depth)
        case Enum():
            return plain(value.value, path, depth)
        case bool() | int() | float():
            return int(value) if isinstance(value, int) else float(value)
        case str():
            return _text(str(value))
        case datetime() if value.utcoffset() is not None:
            return _timestamp(value)
        case datetime() | date() | time():
            return value.isoformat()
        case PurePath():
            return _text(str(value))
        case timedelta() | Decimal() | UUID():
            from pydantic_core import to_jsonable_python

            return to_jsonable_python(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case dict():
            return _mapping(dict(value), path, depth)  # its attributes may be its keys, `items` among them
        case Mapping():
            return _mapping(value, path, depth)
        case Set():
            return _canonical_set(value, path, depth)
        case list() | tuple():
            return plain(list(value), path, depth)
    if hasattr(type(value), "__dataclass_fields__"):
        fields = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
        return _mapping(fields, path, depth)
    where = path or "the value"
    raise InvalidInput(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot cross the glass; "
        "return data (text, numbers, bytes, dates, lists, mappings, pydantic models)",
        path=path,
    )


def _timestamp(value: datetime) -> datetime:
    """A plain datetime, its offset in whole minutes: RFC 3339 knows no finer one, and local mean times have them."""
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        value = value.astimezone(UTC)
    if type(value) is datetime:
        return value
    return datetime.combine(value.date(), value.timetz())


def _fields(model: BaseModel, path: str) -> Any:
    """A model as its Python-mode serialiser gives it: aliases and custom serialisers are respected."""
    try:
        return model.model_dump(mode="python", by_alias=True)
    except Exception as error:  # a serialiser is the author's code: a reference to itself, or anything else
        name = f"{path or 'the value'}: {type(model).__qualname__}"
        raise InvalidInput(f"{name} could not be turned into data: {error}", path=path) from error


def _canonical_set(value: Iterable[Any], path: str, depth: int) -> list[Any]:
    """A set as a list ordered by encoding: iteration order must not reach a message."""
    _check_depth(path, depth)
    items = [plain(item, f"{path}{{}}", depth + 1) for item in value]
    return sorted(items, key=lambda item: (len(cbor2.dumps(item)), cbor2.dumps(item)))


# ---- bytes from a guest ------------------------------------------------------------------------------------------------


Walk = Callable[[bytes], Iterable[tuple[int, int, int]] | None]
LARGE_BYTES = 256  # a lent walk costs 4 µs and then 3 µs a kilobyte, `check` 50
_walks: list[Walk] = []


def lend(walk: Walk) -> None:
    """Let large messages be looked at by `walk`, which gives of each item its end, the items in it and their depth, or None if
    it finds something that `check` is to name. Whoever has compiled code has a fast one."""
    _walks[:] = [walk]


def ends(data: bytes, bounds: Bounds | None = None) -> Iterator[int]:
    """Where each item of a CBOR sequence ends; each is checked as by `check`, and raises as that does."""
    at, size = 0, len(data)
    found = _walks[0](data) if size >= LARGE_BYTES and _walks else None
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


def check(data: bytes, at: int = 0, bounds: Bounds | None = None) -> int:
    """Walk the one item that begins at `at` and return where it ends; nothing is built.

    Accepts exactly the encoding of `guest/ABI.md`: definite lengths within the bytes left, shortest heads, float64, text
    keys sorted and unique, tags 0, 2 and 3 on what they belong to, depth at most 64 below the message.

    Raises:
        MalformedOutput: with the offset and what is wrong there.
        LimitExceeded: it is in the grammar, and more than `bounds` allow.
    """
    size, begin, items = len(data), at, 0
    open_items: list[int] = []  # items still to come at each level; a map counts its keys and values
    open_keys: list[bytes | None] = []  # the last key of a map, None for a list
    remaining = 1
    last_key: bytes | None = None
    is_map = False
    while True:
        if remaining == 0:
            if not open_items:
                if bounds is not None and at - begin > bounds.payload_bytes:
                    raise exceeded("payload_bytes", bounds.payload_bytes, at - begin, "a message")
                return at
            remaining = open_items.pop()
            last_key = open_keys.pop()
            is_map = last_key is not None
            continue
        remaining -= 1
        is_key = is_map and remaining % 2 == 1
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
                    raise _malformed(start, "map keys are not sorted or not unique")
                last_key = text
            at += first - 0x5F
            continue
        major, argument, at = _head(data, at, size)
        if is_key:
            if major != 3:
                raise _malformed(start, "a map key is not text")
            if argument > size - at:
                raise _malformed(start, "a text is longer than what is left")
            key = data[start : at + argument]
            if last_key and key <= last_key:
                raise _malformed(start, "map keys are not sorted or not unique")
            last_key = key
        if major == 6:
            at = _check_tagged(data, at, size, argument, start)
        elif major == 2 or major == 3:
            if argument > size - at:
                raise _malformed(start, "a string is longer than what is left")
            if major == 3:
                _check_text(data, at, at + argument, start)
            at += argument
        elif major >= 4 and major != 7:
            if len(open_items) > DEPTH_MAX:
                raise _malformed(start, f"nested deeper than {DEPTH_MAX}")
            count = argument if major == 4 else 2 * argument
            if count > size - at:
                raise _malformed(start, "more items are announced than bytes are left")
            items += count
            open_items.append(remaining)
            open_keys.append(last_key if is_map else None)
            if bounds is not None and (items > bounds.value_items or len(open_items) > bounds.value_depth + 1):
                if items > bounds.value_items:
                    raise exceeded("value_items", bounds.value_items, items, "a message")
                raise exceeded("value_depth", bounds.value_depth, len(open_items) - 1, "a message")
            remaining = count
            is_map = major == 5
            last_key = b"" if is_map else None


NULL = 0xF6
BREAK = 0xFF  # no item of ours begins with it
_ONE_BYTE = bytes(first < 0x18 or 0x20 <= first < 0x38 or 0xF4 <= first <= 0xF6 for first in range(256))


def _head(data: bytes, at: int, size: int) -> tuple[int, int, int]:
    """Major type, argument and the offset behind the head (RFC 8949 section 3)."""
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
    wanted = {0: 3, 2: 2, 3: 2}.get(tag)
    if wanted is None:
        raise _malformed(start, f"tag {tag} is not in the grammar")
    major, length, at = _head(data, at, size)
    if major != wanted or length > size - at:
        raise _malformed(start, f"tag {tag} stands before something else than it should")
    content = data[at : at + length]
    if tag == 0:
        _check_timestamp(content, start)
    elif length <= 8 or content[0] == 0:
        raise _malformed(start, "a big integer that fits an integer, or has leading zeros")
    return at + length


# What the guests read and write: RFC 3339 without a leap second, with at most nine digits behind the point. Python's own
# parser takes all of ISO 8601, week dates and commas included.
_RFC_3339 = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)")


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
