"""Baking: run a linked guest's initialisation and prelude once, and write its memory back as the data of the module.

Nothing random or timed runs meanwhile, so the same module and prelude give the same bytes. What only baking needs goes:
start and old data, names, the exports `_initialize` and `prelude`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche_guest import wasm
from cloche_guest.abi import CHECK, EXPORTS, LAYOUT_BYTES, BuildFailed, Layout, MalformedModule, parse_layout

if TYPE_CHECKING:
    import wasmtime


@dataclass(frozen=True, slots=True)
class Script:
    """A file of the prelude; `text` is one expression, a function of the namespace."""

    name: str
    text: str


def bake(module: bytes, prelude: Sequence[Script]) -> bytes:
    """The guest made from a linked `module`: same code, memory as it is after initialisation and `prelude`.

    Raises:
        BuildFailed: a prelude file does not run.
        MalformedModule: the module imports something, or its exports or layout are not those of a guest.
    """
    sections = wasm.read_sections(module)
    _check_imports(sections)
    oven = _Oven(module)
    for script in prelude:
        oven.run(script)
    return _rebuild(sections, oven.layout, oven.memory())


def _check_imports(sections: Sequence[wasm.Section]) -> None:
    if any(s.id == wasm.IMPORT and s.body != b"\0" for s in sections):
        raise MalformedModule("the linked module has imports: a C library function asks the world for something")


def _rebuild(sections: Sequence[wasm.Section], layout: Layout, memory: bytes) -> bytes:
    state_address = layout.state_address
    memory = _without_windows(memory, layout)
    data = memory[state_address:].rstrip(b"\0")  # what a turn left in windows above is no part of it
    kept = []
    for section in sections:
        match section.id:
            case wasm.CUSTOM | wasm.IMPORT | wasm.START | wasm.DATA | wasm.DATA_COUNT:
                continue
            case wasm.MEMORY:
                kept.append(wasm.memory_section(len(memory) // wasm.PAGE_BYTES))
            case wasm.EXPORT:
                exports = {e.name: e for e in wasm.read_exports(section.body)}
                wanted = [*EXPORTS, *([CHECK] if CHECK in exports else [])]
                kept.append(wasm.exports_section([exports[name] for name in wanted]))
            case _:
                kept.append(section)
    return wasm.write_sections([*kept, wasm.data_section(state_address, data)])


def _without_windows(memory: bytes, layout: Layout) -> bytes:
    start, stop = layout.input_address, layout.output_address + layout.output_bytes
    return memory[:start] + bytes(stop - start) + memory[stop:]


class _Oven:
    """A live instance of the linked module."""

    def __init__(self, module: bytes) -> None:
        import wasmtime  # only those who build pay for the import

        config = wasmtime.Config()
        config.cranelift_nan_canonicalization = True
        engine = wasmtime.Engine(config)
        self._store = wasmtime.Store(engine)
        instance = wasmtime.Instance(self._store, wasmtime.Module(engine, module), [])
        self._exports = instance.exports(self._store)
        self._call("_initialize")
        at = self._call("layout")
        self.layout: Layout = parse_layout(self._read(at, at + LAYOUT_BYTES))

    def run(self, script: Script) -> None:
        source = script.text.encode()
        self._memory.write(self._store, source, self.layout.input_address)
        if self._call("prelude", len(source)):
            at = self.layout.output_address
            size = int.from_bytes(self._read(at - 4, at), "little")
            raise BuildFailed(f"{script.name} does not run: {self._read(at, at + size)!r}")

    def memory(self) -> bytes:
        return self._read(0, self._memory.data_len(self._store))

    @property
    def _memory(self) -> wasmtime.Memory:
        memory: Any = self._exports["memory"]
        return memory  # type: ignore[no-any-return]

    def _read(self, start: int, stop: int) -> bytes:
        return bytes(self._memory.read(self._store, start, stop))

    def _call(self, name: str, *arguments: int) -> int:
        function: Any = self._exports[name]
        return function(self._store, *arguments)  # type: ignore[no-any-return]
