"""WebAssembly *components*, taken apart into core modules with flat imports (component model binary format).

A component made by componentize-py is a graph: core modules, instances made from them or listed inline, aliases that pick one
export of an instance, and at the very end what is lifted. `read_component` walks that graph once; `parts` renames each
import of a module to (part, export), where the part is the one real instance that owns it. After that the parts can be merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cloche_guest import wasm
from cloche_guest.abi import MalformedModule

MAGIC: Final = b"\0asm\x0d\0\x01\0"
CORE_MODULE, CORE_INSTANCE, ALIAS = 1, 2, 6
SORTS: Final = {
    0: "func",
    1: "table",
    2: "memory",
    3: "global",
    4: "tag",
    0x10: "type",
    0x11: "module",
    0x12: "instance",
}


@dataclass(frozen=True, slots=True)
class RealInstance:
    """A module instantiated: for each module name it imports from, the instance that gives it."""

    module: int
    arguments: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class InlineInstance:
    """A list of exports of other instances: name -> (sort, index among all of that sort)."""

    exports: Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class Component:
    modules: list[bytes] = field(default_factory=list)
    instances: list[RealInstance | InlineInstance] = field(default_factory=list)
    aliases: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: {sort: [] for sort in SORTS.values()})

    def owner(self, instance: int, export: str) -> tuple[int, str]:
        """The real instance behind an export, and its name there."""
        entry = self.instances[instance]
        if isinstance(entry, RealInstance):
            return instance, export
        sort, index = entry.exports[export]
        return self.owner(*self.aliases[sort][index])

    def real(self) -> Iterator[tuple[int, RealInstance]]:
        for index, entry in enumerate(self.instances):
            if isinstance(entry, RealInstance):
                yield index, entry


def read_component(data: bytes) -> Component:
    """Raises:
    MalformedModule: it is not a component, or wired in a way that componentize-py's are not.
    """
    if data[:8] != MAGIC:
        raise MalformedModule("not a WebAssembly component")
    component = Component()
    for section in wasm.read_sections(wasm.MAGIC + data[8:]):
        reader = wasm.Reader(section.body)
        match section.id:
            case 1:
                component.modules.append(section.body)
            case 2:
                component.instances += [_instance(reader) for _ in range(reader.unsigned())]
            case 6:
                for _ in range(reader.unsigned()):
                    _read_alias(reader, component)
    return component


def _instance(reader: wasm.Reader) -> RealInstance | InlineInstance:
    if reader.byte() == 0:
        module, arguments = reader.unsigned(), {}
        for _ in range(reader.unsigned()):
            name = reader.name()
            if reader.byte() != 0x12:
                raise MalformedModule(f"the component gives a module something other than an instance as {name}")
            arguments[name] = reader.unsigned()
        return RealInstance(module, arguments)
    exports = {}
    for _ in range(reader.unsigned()):
        name = reader.name()
        exports[name] = (SORTS[reader.byte()], reader.unsigned())
    return InlineInstance(exports)


def _read_alias(reader: wasm.Reader, component: Component) -> None:
    sort = reader.byte()
    core = SORTS[reader.byte()] if sort == 0 else None
    kind = reader.byte()
    if kind == 2:  # outer
        reader.unsigned(), reader.unsigned()
        return
    instance, name = reader.unsigned(), reader.name()
    if kind == 1 and core:
        component.aliases[core].append((instance, name))


def part_name(instance: int) -> str:
    return f"p{instance}"


def parts(component: Component) -> dict[str, bytes]:
    """Name -> core module, in order of instantiation; every import names the part that owns what it asks for.

    The table of trampolines and what fills it are left out: whoever imports a trampoline imports what is behind it.
    """
    trampolines, filler = _trampolines(component)
    flat = {}
    for index, entry in component.real():
        if index in (trampolines, filler):
            continue

        def renamed(module: str, name: str, arguments: Mapping[str, int] = entry.arguments) -> tuple[str, str]:
            return _behind(component, arguments[module], name)

        flat[part_name(index)] = wasm.rename_imports(component.modules[entry.module], renamed)
    return flat


def stubs(component: Component) -> dict[tuple[str, str], tuple[str, str]]:
    """(part, export) of each stub of a WASI function -> (interface without its version, function)."""
    found = {}
    for _, entry in component.real():
        for interface, instance in entry.arguments.items():
            listed = component.instances[instance]
            if interface.startswith("wasi:") and isinstance(listed, InlineInstance):
                for function in listed.exports:
                    found[_behind(component, instance, function)] = (interface.split("@")[0], function)
    return found


def _trampolines(component: Component) -> tuple[int, int]:
    """The first instance of a component is a table of trampolines; the one whose arguments have no name fills it."""
    real = dict(component.real())
    return min(real), next(index for index, entry in real.items() if set(entry.arguments) == {""})


def _behind(component: Component, instance: int, export: str) -> tuple[str, str]:
    trampolines, filler = _trampolines(component)
    owner, name = component.owner(instance, export)
    if owner == trampolines:
        entry = component.instances[filler]
        assert isinstance(entry, RealInstance)
        owner, name = component.owner(entry.arguments[""], name)
    return part_name(owner), name
