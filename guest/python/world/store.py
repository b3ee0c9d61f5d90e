"""Modules inside of the guest: sources by name, compiled when they are first imported, and the files that lie beside them.

There is no file system. What is added has a place under `/packages/` all the same: modules have a `__file__`, and what is read
from there, with `open`, `pathlib`, `pkgutil` or `importlib.resources`, is what was added.
"""

from __future__ import annotations

import marshal
import sys
import zlib
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from types import ModuleType
from typing import Any

ROOT = "/packages/"
_OURS = ("_world", "cloche")
_sources: dict[str, tuple[str | bytes, bool]] = {}  # text, or compressed, which takes a quarter of the room, or raw
_kept: dict[str, tuple[bytes, bool]] = {}  # of the standard library: compressed code
_common: list[bytes] = []  # what it was compressed with
_baked: dict[str, ModuleType] = {}  # of the standard library: what was there from the beginning
_files: dict[str, bytes] = {}  # by their path under ROOT


class Raw(bytes):
    """A source as it lies in a file: what it is encoded in, it says itself."""


def execute(source: str, file: str, names: dict[str, Any]) -> None:
    """Run a module; `sources.run` takes its place."""
    raise NotImplementedError


def keep(codes: dict[str, tuple[bytes, bool]], common: bytes) -> None:
    """`codes`: module name -> (marshalled code, compressed with the dictionary `common`, and whether it is a package)."""
    _kept.update(codes)
    _common.append(common)


def keep_baked() -> None:
    """What is there now can be imported for ever, whoever takes it out of `sys.modules`."""
    _baked.update({name: module for name, module in sys.modules.items() if module.__spec__ is not None})


def add(sources: Mapping[str, tuple[str | bytes, bool]], files: dict[str, bytes] | None = None) -> None:
    """`sources`: module name -> (source, text or compressed, is it a package); `files`: path under `ROOT` -> content."""
    _sources.update(sources)
    _files.update(files or {})


def append(path: str, data: bytes) -> None:
    """More of a file, of which one script of the bake does not hold all."""
    _files[path] = _files.get(path, b"") + data


def names() -> list[str]:
    return [*_sources, *_kept]


def source_of(name: str) -> str:
    source = _sources[name][0]
    if isinstance(source, Raw):
        return decode_source(source)
    return source if isinstance(source, str) else zlib.decompress(source).decode()


def file_of(name: str) -> str:
    """Where a module of the store lies."""
    inner = name.replace(".", "/")
    return f"{ROOT}{inner}/__init__.py" if _sources[name][1] else f"{ROOT}{inner}.py"


class Kept:
    """Finder and loader of what the guest keeps of the standard library as code."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _kept:
            return None
        loader: Any = Kept
        return ModuleSpec(name, loader, origin=f"<{name}>", is_package=_kept[name][1])

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """A plain one."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        unpacker = zlib.decompressobj(zdict=_common[0])
        exec(marshal.loads(unpacker.decompress(_kept[module.__name__][0])), module.__dict__)


class Baked:
    """Finder and loader of what was there from the beginning, for who has taken it out of `sys.modules`: it is found again."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _baked:
            return None
        loader: Any = Baked
        return ModuleSpec(name, loader, is_package=hasattr(_baked[name], "__path__"))

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _baked[spec.name]

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """It was run when the guest was baked."""


class Store:
    """Finder and loader of what was added."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _sources:
            return None
        loader: Any = Store
        spec = ModuleSpec(name, loader, origin=file_of(name), is_package=_sources[name][1])
        if name.partition(".")[0] not in _OURS:
            spec.has_location = True
            if spec.submodule_search_locations is not None:
                spec.submodule_search_locations.append(file_of(name).rpartition("/")[0])
        return spec

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """A plain one."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        name = module.__name__
        source = source_of(name)
        if name.partition(".")[0] in _OURS:  # without documentation
            exec(compile(source, f"<{name}>", "exec", dont_inherit=True, optimize=2), module.__dict__)
        else:
            execute(source, file_of(name), module.__dict__)

    @staticmethod
    def get_source(name: str) -> str | None:
        return source_of(name) if name in _sources else None

    @staticmethod
    def get_filename(name: str) -> str:
        return file_of(name)

    @staticmethod
    def is_package(name: str) -> bool:
        return _sources[name][1]

    @staticmethod
    def get_data(path: str) -> bytes:
        found = content(path)
        if found is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return found


def content(path: str) -> bytes | None:
    """Of the file at this path; None if there is none."""
    if not path.startswith(ROOT):
        return None
    inner = path[len(ROOT) :]
    if inner in _files:
        return _files[inner]
    stem = inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if inner.endswith(".py") and stem in _sources and file_of(stem) == path:
        source = _sources[stem][0]
        return bytes(source) if isinstance(source, Raw) else source_of(stem).encode()
    return None


def paths() -> list[str]:
    """Of all files, under `ROOT`, without those of the guest itself."""
    found = [file_of(name)[len(ROOT) :] for name in _sources if name.partition(".")[0] not in _OURS]
    return sorted([*found, *_files])


def forget() -> None:
    """The guest's own sources, once they have been imported: none of it is compiled again."""
    for name in [one for one in sys.modules.keys() & _sources.keys() if one.partition(".")[0] in _OURS]:
        del _sources[name]


finders: Any = sys.meta_path
finders.insert(0, Store)
