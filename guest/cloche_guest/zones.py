"""The time zones of the JavaScript guest: IANA's data as PyPI's `tzdata` has it, made small.

A zone is read where the guest lies, byte by byte, and nothing is unpacked (`js/src/zones.c`). The table is

    table = (size of what follows up to the zones) count name* zone*
    name  = (its size × 2, + 1 if it is of those that zone.tab lists) text (where its zone begins, from the first)
    zone  = count type* count change* rule
    type  = (offset from UTC in seconds, signed) letters
    change = (delay after the one before, or after `EPOCH`, in seconds: see `_delay`) type
    rule  = kind, and of kind 1: type, of kind 2: type (standard), type (summer), day (it begins), day (it ends)
    day   = month week weekday (local time of the day in seconds, signed)

Numbers are LEB128, signed ones in zigzag; `letters`, `type` of a change, `kind`, `month`, `week` and `weekday` are bytes. What
a zone has before its first change is its first type; after its last change its rule holds; of kind 0, the last type does.
"""

from __future__ import annotations

import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloche_guest.abi import BuildFailed
from cloche_guest.tools import Progress, key, pip, place, reported

EPOCH: Final = -8_000_000_000  # seconds: older than any change
QUARTER_S: Final = 900
HOUR_S: Final = 3600
# English has short names for the times of North America and of Greenwich. Elsewhere the same letters mean another offset.
LETTERS: Final = (
    "", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "AKST", "AKDT", "HST", "HDT", "AST", "ADT", "GMT", "HAST",
    "HADT",
)  # fmt: skip
_HOURS: Final = {
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
    "HDT": -9, "AST": -4, "ADT": -3, "GMT": 0,
}  # fmt: skip
# Where English has another name than these letters, or none, up to a time: of the Pacific time of Mexico, of Yukon's.
_FOREVER = 1 << 60
_OTHERWISE: Final = {
    **dict.fromkeys(
        ("America/Chihuahua", "America/Mazatlan", "America/Hermosillo", "America/Whitehorse", "America/Dawson"),
        (_FOREVER, {"MST": "", "MDT": ""}),
    ),
    "America/Ciudad_Juarez": (1_669_788_000, {"MST": "", "MDT": ""}),
    "America/Santo_Domingo": (152_082_000, {"EST": ""}),
    "America/Adak": (_FOREVER, {"HST": "HAST", "HDT": "HADT"}),
    "Antarctica/Troll": (_FOREVER, {"-00": "GMT", "+00": "GMT"}),
}
_RULE = re.compile(r"(<[^>]+>|[A-Za-z]+)([-+\d:]+)(?:(<[^>]+>|[A-Za-z]+)([-+\d:]+)?,(\S+),(\S+))?")
_DAY = re.compile(r"M(\d+)\.(\d+)\.(\d+)(?:/(\S+))?")

Type = tuple[int, str]  # offset in seconds, abbreviation
Names = tuple[int, dict[str, str]]  # up to when, the name for an abbreviation


@dataclass(frozen=True, slots=True)
class Zone:
    """What a TZif file says (RFC 9636). `changes`: from this second on, the type of this index."""

    types: tuple[Type, ...]
    changes: tuple[tuple[int, int], ...]
    rule: str

    @classmethod
    def read(cls, data: bytes) -> Zone:
        """The second, 64-bit block of a file of version 2 or later."""
        start = 44 + _block_size(data, 0, 4)
        count, type_count, chars = struct.unpack_from(">3I", data, start + 32)
        at = start + 44
        times = struct.unpack_from(f">{count}q", data, at)
        indexes = data[at + 8 * count : at + 9 * count]
        at += 9 * count
        texts = data[at + 6 * type_count : at + 6 * type_count + chars]
        types = []
        for index in range(type_count):
            offset, _, first = struct.unpack_from(">iBB", data, at + 6 * index)
            types.append((offset, texts[first : texts.index(0, first)].decode()))
        rule = data[start + 44 + _block_size(data, start, 8) :].strip(b"\n").decode()
        return cls(tuple(types), tuple(one for one in zip(times, indexes, strict=True) if one[0] > EPOCH), rule)


def zones_folder(pin: Path, cache: Path, progress: Progress) -> Path:
    """The folder with tzdata as the pin names it."""
    folder = cache / f"tzdata-{key(pin.read_bytes())[:16]}"
    if not folder.exists():
        with reported(progress, "download the time zones"), tempfile.TemporaryDirectory(dir=cache) as work:
            pip(["install", "--no-compile", "--target", str(Path(work) / "zones")], pin, Path(work))
            place(Path(work) / "zones", folder)
    return folder


def table(folder: Path) -> bytes:
    """That of all zones in `folder`, tzdata's `zoneinfo`. Equal zones are there once: most names are links.

    Raises:
        BuildFailed: a zone has a rule of a form that IANA's data does not have today.
    """
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }
    zones = {name: data for name, data in files.items() if data.startswith(b"TZif")}
    listed = {line.split("\t")[2] for line in files["zone.tab"].decode().splitlines() if line and line[0] != "#"}
    otherwise = {zones[name]: names for name, names in _OTHERWISE.items()}  # links to them too
    names, bodies, places = bytearray(), bytearray(), dict[bytes, int]()
    for name in sorted(zones, key=str.lower):
        body = _zone(name, Zone.read(zones[name]), otherwise.get(zones[name], (EPOCH, {})))
        if body not in places:
            places[body] = len(bodies)
            bodies += body
        names += _number(2 * len(name) + (name in listed)) + name.encode() + _number(places[body])
    head = _number(len(zones)) + bytes(names)
    return _number(len(head)) + head + bytes(bodies)


def _block_size(data: bytes, at: int, time_bytes: int) -> int:
    isut, isstd, leaps, times, types, chars = struct.unpack_from(">6I", data, at + 20)
    return int(times * (time_bytes + 1) + types * 6 + chars + leaps * (time_bytes + 4) + isstd + isut)


# ---- the rule after the last change ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Day:
    """The `week`th `weekday` of a month, 5 being the last; `time` in seconds of local time."""

    month: int
    week: int
    weekday: int  # from Sunday, 0
    time: int

    def packed(self) -> bytes:
        return bytes([self.month, self.week, self.weekday]) + _signed(self.time)


@dataclass(frozen=True, slots=True)
class _Rule:
    standard: Type
    summer: Type | None = None
    begins: _Day | None = None
    ends: _Day | None = None

    @classmethod
    def read(cls, name: str, text: str) -> _Rule | None:
        """As TZif files have it: POSIX's TZ, whose offsets are those to UTC."""
        if not text:
            return None
        found = _RULE.fullmatch(text)
        if found is None:
            raise BuildFailed(f"the zone {name} has a rule that cannot be read: {text}")
        standard = -_seconds(found[2]), found[1].strip("<>")
        if found[3] is None:
            return cls(standard)
        summer = -_seconds(found[4]) if found[4] else standard[0] + HOUR_S, found[3].strip("<>")
        return cls(standard, summer, _day(name, found[5]), _day(name, found[6]))

    def packed(self, names: Names) -> bytes:
        standard = _type(self.standard, names, _FOREVER - 1)
        if self.summer is None or self.begins is None or self.ends is None:
            return b"\1" + standard
        return b"\2" + standard + _type(self.summer, names, _FOREVER - 1) + self.begins.packed() + self.ends.packed()


def _day(name: str, text: str) -> _Day:
    found = _DAY.fullmatch(text)
    if found is None:
        raise BuildFailed(f"the zone {name} has a rule of another form: {text}")
    return _Day(int(found[1]), int(found[2]), int(found[3]), _seconds(found[4] or "2"))


def _seconds(text: str) -> int:
    hours, minutes, seconds = [*(int(part) for part in text.lstrip("+-").split(":")), 0, 0][:3]
    return (-1 if text[0] == "-" else 1) * (hours * HOUR_S + minutes * 60 + seconds)


# ---- the table -------------------------------------------------------------------------------------------------------


def _zone(name: str, zone: Zone, names: Names) -> bytes:
    rule = _Rule.read(name, zone.rule)
    types = [_type(zone.types[0], names, EPOCH)]
    changes, before = b"", EPOCH
    for time, index in zone.changes:
        made = _type(zone.types[index], names, time)
        if made not in types:
            types.append(made)
        changes += _delay(time - before) + bytes([types.index(made)])
        before = time
    head = _number(len(types)) + b"".join(types) + _number(len(zone.changes))
    return head + changes + (rule.packed(names) if rule is not None else b"\0")


def _type(one: Type, names: Names, time: int) -> bytes:
    offset, abbreviation = one
    until, otherwise = names
    letters = abbreviation if offset == _HOURS.get(abbreviation, 24) * HOUR_S else ""
    if time < until:
        letters = otherwise.get(abbreviation, letters)
    return _signed(offset) + bytes([LETTERS.index(letters)])


def _delay(seconds: int) -> bytes:
    """Most are a number of quarters of an hour, and told in those."""
    quarters, rest = divmod(seconds, QUARTER_S)
    return _number(seconds * 2 + 1) if rest else _number(quarters * 2)


def _signed(number: int) -> bytes:
    return _number(number * 2 if number >= 0 else -number * 2 - 1)


def _number(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
