"""WebAssembly modules as a list of sections: enough to read one and to write it back changed (core specification 5.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cloche_guest.abi import MalformedModule

MAGIC: Final = b"\0asm\1\0\0\0"
CUSTOM, IMPORT, TABLE, MEMORY, GLOBAL, EXPORT, START, CODE, DATA, DATA_COUNT = 0, 2, 4, 5, 6, 7, 8, 10, 11, 12
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


@dataclass(frozen=True, slots=True)
class Import:
    """`description` is kind and type, as they stand in the module."""

    module: str
    name: str
    description: bytes


class Reader:
    """Walks the body of a section."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def unsigned(self) -> int:
        value, self.at = read_unsigned(self._data, self.at)
        return value

    def name(self) -> str:
        size = self.unsigned()
        self.at += size
        return self._data[self.at - size : self.at].decode()

    def since(self, start: int) -> bytes:
        return self._data[start : self.at]


def read_imports(body: bytes) -> list[Import]:
    reader = Reader(body)
    imports = []
    for _ in range(reader.unsigned()):
        module, name, start = reader.name(), reader.name(), reader.at
        _skip_import(reader)
        imports.append(Import(module, name, reader.since(start)))
    return imports


def _skip_import(reader: Reader) -> None:
    match reader.byte():
        case 0:  # function
            reader.unsigned()
        case 1:  # table: its item type before its limits
            reader.byte()
            _skip_limits(reader)
        case 2:
            _skip_limits(reader)
        case 3:  # global
            reader.byte(), reader.byte()
        case 4:  # tag
            reader.byte(), reader.unsigned()
        case kind:
            raise MalformedModule(f"an import of unknown kind {kind}")


def _skip_limits(reader: Reader) -> None:
    flags = reader.byte()
    reader.unsigned()
    if flags & 1:
        reader.unsigned()


def imports_section(imports: Sequence[Import]) -> Section:
    items = (_name(i.module) + _name(i.name) + i.description for i in imports)
    return Section(IMPORT, unsigned(len(imports)) + b"".join(items))


def _name(text: str) -> bytes:
    encoded = text.encode()
    return unsigned(len(encoded)) + encoded


def rename_imports(module: bytes, rename: Callable[[str, str], tuple[str, str]]) -> bytes:
    """The same module; each import is what `rename` makes of its module and name. Custom sections are dropped."""
    kept = []
    for section in read_sections(module):
        if section.id == IMPORT:
            renamed = [Import(*rename(i.module, i.name), i.description) for i in read_imports(section.body)]
            kept.append(imports_section(renamed))
        elif section.id != CUSTOM:
            kept.append(section)
    return write_sections(kept)


def find_section(module: bytes, id_: int) -> bytes | None:
    """The body of the first section of this kind."""
    return next((s.body for s in read_sections(module) if s.id == id_), None)


def replace_section(module: bytes, new: Section) -> bytes:
    """The same module with `new` in the place of the section of its kind."""
    return write_sections([new if s.id == new.id else s for s in read_sections(module)])


def export_names(module: bytes) -> list[str]:
    return [e.name for e in read_exports(find_section(module, EXPORT) or b"\0")]


def keep_exports(module: bytes, names: dict[str, str]) -> bytes:
    """The same module with only these exports, {new name: old name}."""
    exports = {e.name: e for e in read_exports(find_section(module, EXPORT) or b"\0")}
    kept = [Export(new, exports[old].kind, exports[old].index) for new, old in names.items()]
    return replace_section(module, exports_section(kept))


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
    items = (_name(e.name) + bytes([e.kind]) + unsigned(e.index) for e in exports)
    return Section(EXPORT, unsigned(len(exports)) + b"".join(items))


def memory_section(page_count_min: int) -> Section:
    """One 32-bit memory without a maximum: the host's limit is the maximum."""
    return Section(MEMORY, b"\1\0" + unsigned(page_count_min))


def data_section(address: int, data: bytes) -> Section:
    """One active segment. One dense range is what wasmtime maps copy-on-write (up to 16 MiB)."""
    return Section(DATA, b"\1\0\x41" + signed(address) + b"\x0b" + unsigned(len(data)) + data)


def constant_of(module: bytes, export: str) -> int:
    """The number that an exported function without parameters answers, where that is all it does; nothing is run.

    Raises:
        MalformedModule: there is no such function, or it does more.
    """
    exports = {e.name: e.index for e in read_exports(find_section(module, EXPORT) or b"\0") if e.kind == 0}
    code = find_section(module, CODE) or b"\0"
    if export not in exports:
        raise MalformedModule(f"there is no function {export}")
    reader = Reader(code)
    count = reader.unsigned()
    for _ in range(min(exports[export], count)):  # a guest imports nothing: its functions are those of the section
        size = reader.unsigned()
        reader.at += size
    size = reader.unsigned()
    body = code[reader.at : reader.at + size]
    value, at = read_signed(body, 2)
    if body[:2] != b"\x00\x41" or body[at:] != b"\x0b":  # no locals, i32.const
        raise MalformedModule(f"the function {export} does more than to answer a number")
    return value


def bytes_at(module: bytes, address: int, size: int) -> bytes:
    """`size` bytes of the memory that the module begins with, which lie in one of its segments.

    Raises:
        MalformedModule: they do not.
    """
    body = find_section(module, DATA) or b"\0"
    count, at = read_unsigned(body, 0)
    for _ in range(count):
        if body[at : at + 2] != b"\x00\x41":  # active, at a constant
            break
        begin, at = read_signed(body, at + 2)
        length, at = read_unsigned(body, at + 1)
        offset = address - begin
        if 0 <= offset <= length - size:
            return body[at + offset : at + offset + size]
        at += length
    raise MalformedModule(f"there is nothing at address {address}")


def read_signed(data: bytes, at: int) -> tuple[int, int]:
    """A signed LEB128 number and the offset after it."""
    value = shift = 0
    for byte in _bytes_from(data, at):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if byte & 0x40 else value), at + shift // 7
    raise MalformedModule("the module ends within a number")


def read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the offset after it."""
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
