"""Scopes: parts that the paths of calls begin with, and names that may be such parts."""

from __future__ import annotations

from typing import Final

from _cloche import scope as change_scope

from ._names import NAME_SIZE_MAX, NOT_IN_NAMES

scopes: Final[list[bool]] = []  # true once there has been one: whoever runs code by itself has to keep them apart then


def scope_named(name: str) -> str:
    """
    Raises:
        TypeError: it is no text.
        ValueError: it cannot be a part of a path.
    """
    if not isinstance(name, str):
        raise TypeError(f"a name is text, not {type(name).__name__}")
    if not 0 < len(name) <= NAME_SIZE_MAX or NOT_IN_NAMES.search(name) or any(cut in name for cut in "/[]#"):
        raise ValueError(
            f"{name[:NAME_SIZE_MAX]!r} is no name for a part of a path: 1 to 200 characters that show, without / [ ] #"
        )
    return name


def enter_scope(name: str) -> str | None:
    """Paths begin with it from here on; the scope that was left."""
    if not scopes:
        scopes.append(True)
    before = change_scope(None)
    change_scope(name if before is None else f"{before}/{name}")
    return before


leave_scope: Final = change_scope
