"""WebAssembly modules as a list of sections: enough to read one and to write it back changed (core specification 5.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cloche_guest.abi import MalformedModule

MAGIC: Final = b"\0asm\1\0\0\0"
CUSTOM, IMPORT, MEMORY, EXPORT, START, DATA, DATA_COUNT = 0, 2, 5, 7, 8, 11, 12
PAGE_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Section:
    id: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Export:
    name: str
    kind: int
    index: int


def read_sections(module: bytes) -> list[Section]:
    """The sections of a module, in order.

    Raises:
        MalformedModule: it is not WebAssembly, or a section is longer than the file.
    """
    if module[:8] != MAGIC:
        raise MalformedModule("not a core WebAssembly module of version 1")
    sections = []
    at = 8
    while at < len(module):
        id_ = module[at]
        size, at = read_unsigned(module, at + 1)
        if at + size > len(module):
            raise MalformedModule(f"section {id_} is longer than the file")
        sections.append(Section(id_, module[at : at + size]))
        at += size
    return sections


def write_sections(sections: Sequence[Section]) -> bytes:
    """A module of these sections; the caller keeps them in the order of the specification."""
    return MAGIC + b"".join(bytes([s.id]) + unsigned(len(s.body)) + s.body for s in sections)


def read_exports(body: bytes) -> list[Export]:
    count, at = read_unsigned(body, 0)
    exports = []
    for _ in range(count):
        size, at = read_unsigned(body, at)
        name = body[at : at + size].decode()
        index, after = read_unsigned(body, at + size + 1)
        exports.append(Export(name, body[at + size], index))
        at = after
    return exports


def exports_section(exports: Sequence[Export]) -> Section:
    items = (unsigned(len(e.name.encode())) + e.name.encode() + bytes([e.kind]) + unsigned(e.index) for e in exports)
    return Section(EXPORT, unsigned(len(exports)) + b"".join(items))


def memory_section(page_count_min: int) -> Section:
    """One 32-bit memory without a maximum: the host's limit is the maximum."""
    return Section(MEMORY, b"\1\0" + unsigned(page_count_min))


def data_section(address: int, data: bytes) -> Section:
    """One active segment. One dense range is what wasmtime maps copy-on-write (up to 16 MiB)."""
    return Section(DATA, b"\1\0\x41" + signed(address) + b"\x0b" + unsigned(len(data)) + data)


def read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the offset behind it."""
    value = shift = 0
    for byte in _bytes_from(data, at):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at + shift // 7
    raise MalformedModule("the module ends within a number")


def _bytes_from(data: bytes, at: int) -> Iterator[int]:
    yield from data[at : at + 10]


def unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
