"""A component of CPython and our driver, made into one core module without imports (Binaryen's wasm-merge).

Stubs of WASI functions trap; where the driver has an answer, it takes the stub's place. The driver's data and the windows lie
above CPython's memory, its functions at the end of CPython's table, and it shares CPython's C stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloche_guest import wasm
from cloche_guest.abi import EXPORTS, BuildFailed, MalformedModule
from cloche_guest.component import Component, parts, read_component, stubs

STATE_ADDRESS: Final = 1 << 20  # where CPython's C stack begins to grow down from: below is nothing that lasts
DATA_BYTES: Final = 64 << 10  # for the driver's own data
WINDOWS_BYTES: Final = (16 << 20) + (64 << 10)  # both windows and the gap between them, in whole pages
TABLE_SLOTS: Final = 64  # for the driver's functions that CPython calls
PREFIX: Final = "cloche_"  # of the driver's exports: the parts have a `turn` of their own
BAKING_EXPORTS: Final = ("_initialize", "prelude")
ANSWERS: Final = {
    ("wasi:clocks/wall-clock", "now"): "wall_now",
    ("wasi:clocks/wall-clock", "resolution"): "wall_resolution",
    ("wasi:clocks/monotonic-clock", "now"): "monotonic_now",
    ("wasi:clocks/monotonic-clock", "resolution"): "monotonic_resolution",
    ("wasi:random/random", "get-random-bytes"): "random_bytes",
    ("wasi:cli/environment", "get-environment"): "nothing",
    ("wasi:cli/environment", "get-arguments"): "nothing",
    ("wasi:filesystem/preopens", "get-directories"): "nothing",
}
DRIVER: Final = "driver"

RunTool = Callable[[str, Sequence[str]], None]  # name of a tool of Binaryen's, arguments


@dataclass(frozen=True, slots=True)
class Room:
    """Where the driver goes: addresses in bytes, and its first slot in the table."""

    data_address: int
    input_address: int
    table_base: int


def room(component: bytes) -> Room:
    """Raises:
    MalformedModule: it is no component of componentize-py's.
    """
    owner, _ = _owner(parts(read_component(component)))
    data_address = _first_limit(owner, wasm.MEMORY) * wasm.PAGE_BYTES
    return Room(data_address, data_address + DATA_BYTES, _first_limit(owner, wasm.TABLE))


def merge(component: bytes, driver: bytes, run_tool: RunTool, work: Path) -> bytes:
    """The linked module: exports of a guest, and those that only baking needs.

    Raises:
        BuildFailed: a tool failed, or the driver needs a function that no part defines.
    """
    graph = read_component(component)
    flat = parts(graph)
    owner, owner_name = _owner(flat)
    flat[owner_name] = _with_room(owner)
    answered = _answers(graph)
    files = []
    for name, module in {**flat, DRIVER: _wired(driver, flat, owner_name)}.items():
        file = work / f"{name}.wasm"
        file.write_bytes(module if name == DRIVER else wasm.rename_imports(module, answered))
        files += [str(file), name]
    rough, smooth = str(work / "rough.wasm"), str(work / "smooth.wasm")
    run_tool("wasm-merge", [*files, "-o", rough, "--rename-export-conflicts", "-all"])
    merged = Path(rough).read_bytes()
    names = {"memory": "memory"} | {name: PREFIX + name for name in (*EXPORTS, *BAKING_EXPORTS) if name != "memory"}
    Path(rough).write_bytes(wasm.keep_exports(merged, names))
    # Offsets of table segments become constants: with these wasmtime fills the table lazily, else at each instantiation.
    folds = ["--simplify-globals", "--propagate-globals-globally", "--remove-unused-module-elements"]
    run_tool("wasm-opt", ["-all", *folds, rough, "-o", smooth])
    return Path(smooth).read_bytes()


def _owner(flat: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The part that has the memory, the table and the stack pointer."""
    for name, module in flat.items():
        if wasm.find_section(module, wasm.MEMORY):
            return module, name
    raise MalformedModule("no part of the component has a memory")


def _first_limit(module: bytes, section: int) -> int:
    """The least size of the one memory or table that a module defines."""
    reader = wasm.Reader(wasm.find_section(module, section) or b"\0")
    if reader.unsigned() != 1:
        raise MalformedModule("the component has not one memory and one table")
    if section == wasm.TABLE:
        reader.byte()
    reader.byte()
    return reader.unsigned()


def _with_room(owner: bytes) -> bytes:
    pages = _first_limit(owner, wasm.MEMORY) + (DATA_BYTES + WINDOWS_BYTES) // wasm.PAGE_BYTES
    slots = _first_limit(owner, wasm.TABLE) + TABLE_SLOTS
    owner = wasm.replace_section(owner, wasm.memory_section(pages))
    return wasm.replace_section(owner, wasm.Section(wasm.TABLE, b"\1\x70\0" + wasm.unsigned(slots)))


def _answers(graph: Component) -> Callable[[str, str], tuple[str, str]]:
    known = stubs(graph)

    def answered(part: str, export: str) -> tuple[str, str]:
        answer = ANSWERS.get(known.get((part, export), ("", "")))
        return (DRIVER, f"{PREFIX}answer_{answer}") if answer else (part, export)

    return answered


def _wired(driver: bytes, flat: Mapping[str, bytes], owner: str) -> bytes:
    """The driver with its imports named by the parts that have them."""
    libraries = [name for name, module in flat.items() if "Py_DecRef" in wasm.export_names(module)]
    libraries += [name for name, module in flat.items() if "__wasi_init_tp" in wasm.export_names(module)]
    homes = {function: name for name in libraries for function in wasm.export_names(flat[name])}

    def home(_: str, name: str) -> tuple[str, str]:
        if name in ("memory", "__indirect_function_table", "__stack_pointer"):
            return owner, name
        if name not in homes:
            raise BuildFailed(f"the driver calls {name}, which neither CPython nor its C library has")
        return homes[name], name

    return wasm.rename_imports(_on_shared_stack(driver), home)


def _on_shared_stack(driver: bytes) -> bytes:
    """The driver's one global is its stack pointer: it becomes an import, and keeps its number so that no code changes."""
    sections = wasm.read_sections(driver)
    body = next(s.body for s in sections if s.id == wasm.GLOBAL)
    if body[:3] != b"\1\x7f\1":
        raise MalformedModule("the driver has other globals than its stack pointer")
    imports = wasm.read_imports(next(s.body for s in sections if s.id == wasm.IMPORT))
    imports.append(wasm.Import("env", "__stack_pointer", b"\3\x7f\1"))
    kept = [s for s in sections if s.id != wasm.GLOBAL]
    return wasm.write_sections([wasm.imports_section(imports) if s.id == wasm.IMPORT else s for s in kept])
