"""Values across the glass: Python objects to CBOR and back (`guest/ABI.md`, "Values").

`plain` turns what an author's code returned into values of the message grammar, `encode` writes them in the one
deterministic form (RFC 8949 section 4.2.1, float64 profile), `decode` reads bytes that were checked (`history.check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import cbor2

from cloche.errors import InvalidInput
from cloche.history.check import DEPTH_MAX
from cloche.history.zones import read_tagged, write_timestamp

if TYPE_CHECKING:
    from pydantic import BaseModel

Value: TypeAlias = "None | bool | int | float | str | bytes | datetime | list[Value] | dict[str, Value]"

ABI = 2  # the newest version of the guest boundary; all older ones are spoken for ever
_ENCODERS: Any = {datetime: write_timestamp}
_ATOMS = frozenset({type(None), bool, int, float, bytes})


def encode(value: Any, abi: int = ABI) -> bytes:
    """`value` as deterministic CBOR, as a guest of `abi` reads it.

    Raises:
        InvalidInput: something in it cannot cross; `path` names the place (`items[3].cb`).
    """
    return encode_plain(plain(value), abi)


def encode_plain(value: Any, abi: int = ABI) -> bytes:
    """As `encode`, for values made by cloche itself: already plain, keys already in order.

    ABI 1 has no time zones: there an instant keeps its offset alone.
    """
    return cbor2.dumps(value) if abi == 1 else cbor2.dumps(value, encoders=_ENCODERS)


def decode(data: bytes) -> Any:
    """The value of `data`, which this process wrote or has checked."""
    return cbor2.loads(data, tag_hook=read_tagged)


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
    return sorted(items, key=lambda item: (len(encode_plain(item)), encode_plain(item)))
