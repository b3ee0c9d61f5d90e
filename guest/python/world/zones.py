"""Time zones: the data `zoneinfo` would read from files."""

import io
import zoneinfo
import zoneinfo._common
import zoneinfo._tzpath

_zones = {}


def add(zones):
    """`zones`: name -> TZif data. Equal data is kept once: most names are links."""
    kept = {}
    for name, data in zones.items():
        _zones[name] = kept.setdefault(data, data)


def load(key):
    try:
        return io.BytesIO(_zones[key])
    except KeyError:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None


def available():
    return set(_zones)


zoneinfo._common.load_tzdata = load
zoneinfo._tzpath.find_tzfile = lambda key: None
zoneinfo._tzpath.available_timezones = zoneinfo.available_timezones = available
zoneinfo._tzpath.TZPATH = zoneinfo.TZPATH = ()
