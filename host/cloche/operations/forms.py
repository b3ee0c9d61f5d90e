"""Values and records as JSON and CBOR have them: one form each, for the command line and for HTTP."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput, MalformedOutput
from cloche.history import Kind
from cloche.history.check import decode_sequence
from cloche.history.values import decode, encode, encode_plain, plain, with_text_keys
from cloche.steps.sdk_values import ended
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history import Record

INTEGER_BITS_MAX = (
    14_000  # below 4,300 digits, which is what Python writes: more would take time that grows with their square
)
LAST_MS = 253_402_300_799_000  # the last second that Python's calendar has


def shown_id(run: str) -> str:
    """The id of a run as people read it: `order-17 › 3`."""
    return shown(run)


def to_json(value: Any) -> str:
    """One line of JSON.

    What JSON cannot hold is written as text: dates as ISO, bytes as `hex:…`, numbers that are not finite by name, integers that
    have more digits than Python writes as `0x…`.
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=_not_json, allow_nan=False)
    except ValueError:
        return json.dumps(_named(value), ensure_ascii=False)
    except TypeError:  # keys that are dates, members of enums …
        return json.dumps(_as_it_crosses(with_text_keys(value)), ensure_ascii=False, default=_not_json)


def instant(time_ms: int) -> str:
    """A time in ms since 1970 as RFC 3339 has it; the last second of the year 9999 for all that is later."""
    found = datetime.fromtimestamp(min(time_ms, LAST_MS) / 1000, UTC)
    return f"{found.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def instant_ms(text: str) -> int:
    """The reverse of `instant`, in ms since 1970."""
    found = datetime.fromisoformat(text)
    return round(found.timestamp() * 1000)


def to_cbor(value: Any) -> bytes:
    """In the deterministic form of RFC 8949, section 4.2.1.

    Raises:
        InvalidInput: it holds what cannot cross the glass.
    """
    return encode(value)


def from_cbor(data: bytes) -> Any:
    """The one value of bytes that anybody may have written.

    Raises:
        InvalidInput: they are not that, or not in the deterministic form.
    """
    try:
        found = decode_sequence(data)
    except (MalformedOutput, ValueError) as error:
        raise InvalidInput(f"this is no deterministic CBOR: {error}", path="", problems=[]) from error
    if len(found) != 1:
        raise InvalidInput(f"there are {len(found)} CBOR values, and one is expected", path="", problems=[])
    return found[0]


def record_head(record: Record) -> dict[str, Any]:
    """The envelope of a record, for JSON. `size` is that of the body in bytes."""
    return {
        "seq": record.seq,
        "kind": record.kind.name.lower(),
        "time": instant(record.time),
        "call": record.call,
        "path": record.path,
        "size": record.payload.size if record.payload is not None else len(record.inline),
        "hash": record.hash.hex(),
    }


def record_body(record: Record, *, traced: bool = True, tagged: bool = False) -> Any:
    """What it holds, as a value; without `traced` not the traceback of an attempt that failed: it names files of the host.

    `tagged`: its values are as JavaScript has them, and come as Python has them.
    """
    body = ended(decode(record.body)) if tagged else decode(record.body)
    if not traced and record.kind is Kind.ATTEMPT_FAILED:
        return {name: part for name, part in body.items() if name != "traceback"}
    return body


def stored(record: Record) -> bytes:
    """A record and its hash as they are stored, as one CBOR item: `[record, hash]`. A large body is beside it."""
    return encode_plain([record.packed, record.hash])


def _named(value: Any) -> Any:
    match value:
        case dict():
            return {key: _named(one) for key, one in value.items()}
        case list() | tuple():
            return [_named(one) for one in value]
        case float() if not math.isfinite(value):
            return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case int() if value.bit_length() > INTEGER_BITS_MAX:
            return f"{value:#x}"
        case None | bool() | int() | float() | str():
            return value
    return _named(_not_json(value))


def _not_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"hex:{value.hex()}"
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return _as_it_crosses(value)


def _as_it_crosses(value: Any) -> Any:
    """A value of a type that crosses: an enum as its value, a set as a list. Else its text."""
    try:
        return plain(value)
    except InvalidInput:
        return str(value)
