"""Modules inside of the guest: sources by name, compiled when they are first imported. There are no files."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_sources: dict[str, tuple[str, bool]] = {}


def add(sources: dict[str, tuple[str, bool]]) -> None:
    """`sources`: module name -> (source, whether it is a package)."""
    _sources.update(sources)


class Store:
    """Finder and loader of what was added."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _sources:
            return None
        loader: Any = Store
        return ModuleSpec(name, loader, origin=f"<{name}>", is_package=_sources[name][1])

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """A plain one."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        source, _ = _sources[module.__name__]
        level = 2 if module.__name__.partition(".")[0] in ("_world", "cloche") else 0  # ours without documentation
        exec(compile(source, f"<{module.__name__}>", "exec", dont_inherit=True, optimize=level), module.__dict__)

    @staticmethod
    def get_source(name: str) -> str | None:
        return _sources[name][0] if name in _sources else None


def forget() -> None:
    """The sources of what has been imported: none of it is compiled again."""
    for name in sys.modules.keys() & _sources.keys():
        del _sources[name]


finders: Any = sys.meta_path
finders.insert(0, Store)
