"""Time zones: the data `zoneinfo` would read from files."""

from __future__ import annotations

import io
import zoneinfo
import zoneinfo._common
import zoneinfo._tzpath
from typing import Any

_zones: dict[str, bytes] = {}
_common: Any = zoneinfo._common
_tzpath: Any = zoneinfo._tzpath
_public: Any = zoneinfo


def add(zones: dict[str, bytes]) -> None:
    """`zones`: name -> TZif data. Equal data is kept once: most names are links."""
    kept: dict[bytes, bytes] = {}
    for name, data in zones.items():
        _zones[name] = kept.setdefault(data, data)


def load(key: str) -> io.BytesIO:
    try:
        return io.BytesIO(_zones[key])
    except KeyError:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None


def available() -> set[str]:
    return set(_zones)


_common.load_tzdata = load
_tzpath.find_tzfile = lambda key: None
_tzpath.available_timezones = _public.available_timezones = available
_tzpath.TZPATH = _public.TZPATH = ()
