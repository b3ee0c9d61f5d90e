"""Values across the glass: Python objects to CBOR and back (`guest/ABI.md`, "Values").

`plain` turns what an author's code returned into values of the message grammar, `encode` writes them in the one
deterministic form (RFC 8949 section 4.2.1, float64 profile), `decode` reads bytes that were checked (`history.check`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from re import Pattern
from typing import TYPE_CHECKING, Any, Final, TypeAlias
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
            return _plain_fields(_fields(value, path), path, depth)
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
        case list() | tuple() | deque():
            return plain(list(value), path, depth)
        case Pattern():
            return plain(value.pattern, path, depth)
    if is_dataclass(type(value)):
        present = {one.name: getattr(value, one.name) for one in fields(value)}
        return _plain_fields(present, path, depth)
    if (text := _as_text(value)) is not None:
        return text
    where = path or "the value"
    raise InvalidInput(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot cross the glass; "
        f"{_advice(value)}",
        path=path,
    )


_URLS: Final = ("_BaseUrl", "_BaseMultiHostUrl", "Url", "MultiHostUrl", "NameEmail")
_TEXTS: Final = (
    *((module, name) for module in ("pydantic.networks", "pydantic_core._pydantic_core") for name in _URLS),
    *(("ipaddress", f"IPv{version}{what}") for version in (4, 6) for what in ("Address", "Network", "Interface")),
    ("builtins", "complex"),
)


def _as_text(value: Any) -> str | None:
    """What pydantic writes as a text, and reads back from it: URLs, addresses, complex numbers; else None."""
    kinds = [(kind.__module__, kind.__qualname__) for kind in type(value).__mro__[:-1]]
    if not any(kind in _TEXTS for kind in kinds):
        return None
    return str(value).strip("()") if isinstance(value, complex) else _text(str(value))


def _advice(value: Any) -> str:
    if type(value).__name__ in ("SecretStr", "SecretBytes", "Secret") and type(value).__module__ == "pydantic.types":
        return "what crosses is recorded, and a secret must not be: give its name on, and let the step that needs it look it up"
    return "return data (text, numbers, bytes, dates, lists, mappings, pydantic models)"


def _plain_fields(values: Any, path: str, depth: int) -> Any:
    """Of a model or dataclass, whose annotations say what keys of its mappings are."""
    try:
        return plain(values, path, depth)
    except InvalidInput:
        return plain(with_text_keys(values), path, depth)


def with_text_keys(value: Any) -> Any:
    """`value` with the keys of its mappings as texts: numbers, UUIDs, dates and members of enums, where an annotation says that
    such come back. What has no such form is left, to be refused by its place."""
    match value:
        case dict():
            made = {_key_text(key): with_text_keys(one) for key, one in value.items()}
            return made if len(made) == len(value) else value
        case list() | tuple() if type(value) in (list, tuple):
            return [with_text_keys(one) for one in value]
    return value


def _key_text(key: Any) -> Any:
    if isinstance(key, Enum):
        key = key.value
    match key:
        case bool():
            return key
        case str():
            return str(key)
        case int():
            return str(int(key))
        case datetime() | date() | time():
            return key.isoformat()
        case UUID() | Decimal():
            return str(key)
    return key


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
