"""Instants with the name of their time zone (RFC 9557), in CBOR under a tag of their own.

`2026-03-29T01:30:00+01:00[Europe/Berlin]`: the offset says which instant it is. The name is kept beside it, so that arithmetic
goes by the clocks of that zone.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cbor2 import CBORTag

TAG_TIMESTAMP: Final = 0
TAG_ZONED: Final = 9557
_NAME: Final = re.compile(r"[A-Za-z0-9._/+-]{1,64}")


def split_zone(text: str) -> tuple[str, str] | None:
    """The timestamp and the name of the zone in brackets after it; None if that is not what the text is."""
    stamp, bracket, rest = text.partition("[")
    name = rest[:-1]
    return (stamp, name) if bracket and rest[-1:] == "]" and _NAME.fullmatch(name) else None


def timestamp(value: datetime) -> tuple[int, str]:
    """Tag and text of an aware datetime: with the name of its zone where it has one."""
    text = value.isoformat().replace("+00:00", "Z")
    name = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    if name is None or not _NAME.fullmatch(name):
        return TAG_TIMESTAMP, text
    return TAG_ZONED, f"{text}[{name}]"


def write_timestamp(encoder: Any, value: datetime) -> None:
    """An aware datetime, as an encoder of the codec."""
    encoder.encode(CBORTag(*timestamp(value)))


def read_tagged(tag: CBORTag, _: bool) -> datetime:
    """What a tag that the codec does not know stands for, as its `tag_hook`.

    Raises:
        ValueError: it is not in the grammar.
    """
    found = split_zone(tag.value) if tag.tag == TAG_ZONED and isinstance(tag.value, str) else None
    if found is None:
        raise ValueError(f"tag {tag.tag} is not in the grammar")
    stamp, name = found
    moment = datetime.fromisoformat(stamp)
    try:
        return moment.astimezone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):  # a zone that this machine does not know
        return moment
