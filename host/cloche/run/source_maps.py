"""Where a place of a bundle stands in the files that its author wrote: source maps (ECMA-426).

A bundle has its map in its last line, as text (`//# sourceMappingURL=data:application/json;base64,…`); `with_map_beside` puts
one there that lies in a file of its own. Tenants bring such maps, and only people read what they say: so sizes are bounded,
which bounds the time, and what is not as a map must be is none.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

MAP_BYTES_MAX = 8 << 20  # of the JSON, with the text of the sources
MAPPINGS_CHARS_MAX = 1 << 20  # up to a second of a core, of the slowest kind; a bundle of 1.5 MB has about so many
FILE_CHARS_MAX = 300  # of a file's name
_DIGITS = {char: value for value, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_NAMED = re.compile(r"//[#@] sourceMappingURL=([^\s'\"]+)\s*\Z")
_TAIL_CHARS = 2_000  # a comment that names a file is shorter

Place = tuple[str, int, int]  # file, line and column, both from 1


@dataclass(frozen=True, slots=True)
class SourceMap:
    """`in_place`: what follows a segment keeps its distance from it, as in text that was only written over (`x_in_place`)."""

    sources: tuple[str, ...]
    mappings: str
    in_place: bool = False
    texts: tuple[str | None, ...] = ()

    @classmethod
    def read(cls, text: str | bytes) -> SourceMap | None:
        """None: it is no map, or one that is too large."""
        try:
            data: Any = json.loads(text) if len(text) <= MAP_BYTES_MAX else None
        except (ValueError, RecursionError):
            return None
        return cls.of(data)

    @classmethod
    def of(cls, data: Any) -> SourceMap | None:
        """Of the JSON; one of several maps, each for what follows its offset, if it has `sections`."""
        if not isinstance(data, dict) or data.get("version") != 3:
            return None
        if "sections" in data:
            return _Sections.of(data)
        root, sources, mappings = data.get("sourceRoot") or "", data.get("sources"), data.get("mappings")
        if not isinstance(root, str) or not isinstance(sources, list) or not isinstance(mappings, str):
            return None
        if len(mappings) > MAPPINGS_CHARS_MAX:
            return None
        slash = "/" if root and not root.endswith("/") else ""
        files = tuple(_file(f"{root}{slash}{one}") if isinstance(one, str) else "" for one in sources)
        contents = data.get("sourcesContent")
        texts = tuple(contents) if isinstance(contents, list) and len(contents) == len(files) else ()
        return cls(files, mappings, data.get("x_in_place") is True, texts)

    def to_data(self) -> dict[str, Any]:
        """What `of` reads, without the text of the sources."""
        return {"version": 3, "sources": self.sources, "names": [], "mappings": self.mappings}

    def places(self, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], Place]:
        """Of each wanted line and column of the bundle (from 1), where it was written; those that nobody wrote are left out."""
        columns: dict[int, list[int]] = {}
        for line, column in wanted:
            columns.setdefault(line, []).append(column)
        found: dict[tuple[int, int], Place] = {}
        try:
            for line, segments in _decoded(self.mappings, columns):
                for column in columns[line]:
                    last = None
                    for segment in segments:  # in the order of their columns, from 0
                        if segment[0] < column:
                            last = segment
                    if last is not None and (place := self._place(*last[1:])) is not None:
                        beyond = column - 1 - last[0] if self.in_place else 0
                        found[line, column] = (place[0], place[1], place[2] + beyond)
        except ValueError:
            return {}
        return found

    def _place(self, source: int, line: int, column: int) -> Place | None:
        if not 0 <= source < len(self.sources) or not self.sources[source] or line < 0 or column < 0:
            return None
        return self.sources[source], line + 1, column + 1


@dataclass(frozen=True, slots=True)
class _Sections(SourceMap):
    """`parts` are (line, column, map), the offsets from 0 and in their order: what other tools have put together."""

    parts: tuple[tuple[int, int, SourceMap], ...] = ()

    @classmethod
    def of(cls, data: dict[str, Any]) -> SourceMap | None:
        found: list[tuple[int, int, SourceMap]] = []
        for one in data["sections"] if isinstance(data["sections"], list) else [None]:
            offset, inner = (one.get("offset"), one.get("map")) if isinstance(one, dict) else (None, None)
            line, column = (offset.get("line"), offset.get("column")) if isinstance(offset, dict) else (None, None)
            is_index = isinstance(inner, dict) and "sections" in inner  # the standard has none within each other
            read = None if is_index else SourceMap.of(inner)
            if read is None or type(line) is not int or type(column) is not int or min(line, column) < 0:
                return None
            if found and (line, column) < found[-1][:2]:
                return None
            found.append((line, column, read))
        if sum(len(part.mappings) for _, _, part in found) > MAPPINGS_CHARS_MAX:
            return None
        return cls((), "", parts=tuple(found))

    def to_data(self) -> dict[str, Any]:
        sections = [
            {"offset": {"line": line, "column": column}, "map": part.to_data()} for line, column, part in self.parts
        ]
        return {"version": 3, "sections": sections}

    def places(self, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], Place]:
        offsets = [(line, column) for line, column, _ in self.parts]
        asked: dict[int, dict[tuple[int, int], tuple[int, int]]] = {}
        for line, column in wanted:
            number = bisect_right(offsets, (line - 1, column - 1)) - 1
            if number >= 0:
                first, start = offsets[number]
                inner = (line - first, column - start if line - 1 == first else column)
                asked.setdefault(number, {})[inner] = (line, column)
        found: dict[tuple[int, int], Place] = {}
        for number, outer in asked.items():
            found.update({outer[at]: place for at, place in self.parts[number][2].places(list(outer)).items()})
        return found


def places_in(code: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], Place]:
    """`SourceMap.places` by the map in the last lines of a bundle; none of one that has no map which can be read."""
    text = _inlined(code) if wanted else None
    return dict(_places(text, tuple(wanted))) if text is not None else {}


def authored(code: str) -> dict[str, str]:
    """The files that a bundle was made of, as their author wrote them, by path: what its map brings along of them."""
    text = _inlined(code)
    found = _read(text) if text is not None else None
    if found is None:
        return {}
    pairs = zip(found.sources, found.texts, strict=False)
    return {file: text for file, text in pairs if file and isinstance(text, str)}


def encoded_map(
    sources: Sequence[tuple[str, str | None]], parts: Sequence[tuple[int, int, Sequence[int]]]
) -> dict[str, Any]:
    """The map of a bundle in which each source stands as a piece of whole lines.

    Args:
        sources: the files, with their text where the map is to bring it along.
        parts: of each, from 0: the line of the bundle it begins at, how many lines it has, and `line, column there, column in
            the source` for each place from which on columns are others than in the source.
    """
    lines: dict[int, list[tuple[int, int, int, int]]] = {}
    for source, (begin, count, shifts) in enumerate(parts):
        for line in range(count):
            lines[begin + line] = [(0, source, line, 0)]
        for at in range(0, len(shifts) - 2, 3):
            line, there, column = shifts[at : at + 3]
            own = lines[begin + line]
            own[:] = [one for one in own if one[0] < there] + [(there, source, line, column)]
    data: dict[str, Any] = {"version": 3, "x_in_place": True, "sources": [file for file, _ in sources]}
    return data | {"sourcesContent": [text for _, text in sources], "names": [], "mappings": _encoded(lines)}


def _encoded(lines: Mapping[int, Sequence[tuple[int, int, int, int]]]) -> str:
    out, last = [], (0, 0, 0)
    for line in range(max(lines, default=-1) + 1):
        segments, column = [], 0
        for segment in lines.get(line, ()):
            there, rest = segment[0], segment[1:]
            numbers = (there - column, *(one - before for one, before in zip(rest, last, strict=True)))
            segments.append("".join(map(_digits, numbers)))
            column, last = there, rest
        out.append(",".join(segments))
    return ";".join(out)


_CHARS = "".join(_DIGITS)


def _digits(number: int) -> str:
    left, text = (-number << 1 | 1) if number < 0 else number << 1, ""
    while True:
        left, digit = left >> 5, left & 31
        text += _CHARS[digit | 32 if left else digit]
        if not left:
            return text


def is_in(code: str) -> bool:
    """Whether a bundle has what may be a map: then `places_in` may take long, and belongs beside the event loop."""
    return _inlined(code) is not None


@lru_cache(maxsize=8)  # a run that failed is looked at more than once
def _places(text: str, wanted: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], Place]:
    found = _read(text)
    return found.places(wanted) if found is not None else {}


def with_map_beside(code: str, file: Path, bytes_max: int) -> tuple[str, str | None]:
    """The code of a bundle with the map in it that its last line names and that lies beside `file`: without the text of the
    sources. The code as it is where none lies there; and why one that does was left out."""
    named = _NAMED.search(code, max(0, len(code) - _TAIL_CHARS))
    if named is None or ":" in named[1] or "/" in named[1] or "\\" in named[1]:
        return code, None
    beside = file.parent / named[1]
    try:
        text = beside.read_bytes() if beside.stat().st_size <= MAP_BYTES_MAX else b""
    except OSError:
        return code, None
    found = SourceMap.read(text)
    if found is None:
        return (
            code,
            f"it is no source map, or has more than {MAP_BYTES_MAX} bytes, {MAPPINGS_CHARS_MAX} of them mappings",
        )
    data = json.dumps(found.to_data())
    made = f"{code[: named.start(1)]}data:application/json;base64,{b64encode(data.encode()).decode()}\n"
    if (size := len(made.encode())) > bytes_max:
        return code, f"with it the code would have {size} bytes, and the policy allows {bytes_max} (source_bytes)"
    return made, None


def _read(text: str) -> SourceMap | None:
    head, _, data = text.partition(",")
    try:
        return SourceMap.read(b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data))
    except ValueError:
        return None


def _inlined(code: str) -> str | None:
    at = max(code.rfind("\n//# sourceMappingURL=data:"), code.rfind("\n//@ sourceMappingURL=data:"))
    text = code[at + len("\n//# sourceMappingURL=") :].rstrip() if at >= 0 else ""
    return text if text and "\n" not in text and len(text) <= 2 * MAP_BYTES_MAX else None


def _file(name: str) -> str:
    """As a person reads it: without the scheme that bundlers invent, and without a beginning that is too long."""
    _, _, path = name.rpartition("://")
    return path if len(path) <= FILE_CHARS_MAX else "…" + path[-FILE_CHARS_MAX:]


def _decoded(mappings: str, wanted: Collection[int]) -> Iterator[tuple[int, list[tuple[int, int, int, int]]]]:
    """Line by line of those that are wanted: column, source, line and column there, all from 0.

    Raises:
        ValueError: it is no list of such numbers.
    """
    last = max(wanted, default=0)
    source = line_there = column_there = 0
    known: dict[str, tuple[int, ...]] = {}
    for line, segments in enumerate(mappings.split(";", last)[:last], 1):
        column, found, is_wanted = 0, [], line in wanted
        for segment in segments.split(",") if segments else ():
            numbers = known.get(segment)
            if numbers is None:
                numbers = known[segment] = _numbers(segment)
            column += numbers[0]
            if len(numbers) == 1:
                continue
            source += numbers[1]
            line_there += numbers[2]
            column_there += numbers[3]
            if is_wanted:
                found.append((column, source, line_there, column_there))
        if is_wanted:
            yield line, found


def _numbers(segment: str) -> tuple[int, ...]:
    """One, four or five numbers, as digits of five bits, the lowest first, with the sign in the lowest bit of all."""
    numbers, number, shift = [], 0, 0
    for char in segment:
        digit = _DIGITS.get(char)
        if digit is None or shift > 30:
            raise ValueError(f"no number: {segment[:20]!r}")
        number |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            numbers.append(-(number >> 1) if number & 1 else number >> 1)
            number, shift = 0, 0
    if shift or len(numbers) not in (1, 4, 5):
        raise ValueError(f"no place: {segment[:20]!r}")
    return tuple(numbers)
