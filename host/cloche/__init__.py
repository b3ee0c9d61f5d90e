"""cloche: durable workflows under glass. The names that users import; each is loaded when it is first used.

They are listed once, in the stub beside this file, one import a line. Type checkers read it as it stands, and this module takes
from it where each name comes from: a table here would be a second list. It is read as text, for `ast` takes 2 ms to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def _homes() -> dict[str, str]:
    """The module that each public name is imported from: `from MODULE import NAME as NAME`."""
    with open(f"{__file__.rpartition('.')[0]}.pyi", encoding="utf-8") as stub:
        imports = [line.split() for line in stub if line.startswith("from ")]
    return {name: module for _, module, _, name, _, _ in imports}


_HOME = _homes()
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from difflib import get_close_matches

        near = get_close_matches(name, __all__, 1, 0.7)
        hint = f". Did you mean '{near[0]}'?" if near and not name.startswith("_") else ""
        raise AttributeError(f"module 'cloche' has no attribute '{name}'{hint}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
