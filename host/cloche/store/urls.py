"""Which store a path or a URL names."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from cloche.errors import UsageError
from cloche.store.memory import MemoryStore
from cloche.store.protocol import Store
from cloche.store.sqlite import SqliteStore

MEMORY = "memory:"
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(.*)", re.DOTALL)  # one letter is a Windows drive


async def _memory(rest: str, must_exist: bool) -> Store:
    if rest:
        raise UsageError(f"a store in memory has no name: give '{MEMORY}' alone")
    return MemoryStore()


async def _sqlite(rest: str, must_exist: bool) -> Store:
    return SqliteStore(_file(rest), must_exist=must_exist)


async def _postgres(rest: str, must_exist: bool) -> Store:
    try:
        from cloche.store.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise UsageError("a store in PostgreSQL needs its driver: pip install 'cloche[postgres]'") from error
    return await PostgresStore.open(f"postgresql:{rest}", must_exist=must_exist)


# By scheme: the form for people, and what opens it, given what follows the colon.
_STORES: dict[str, tuple[str, Callable[[str, bool], Awaitable[Store]]]] = {
    "sqlite": ("sqlite:PATH", _sqlite),
    "memory": (MEMORY, _memory),
    "postgresql": ("postgresql://USER@HOST/DATABASE", _postgres),
    "postgres": ("postgresql://USER@HOST/DATABASE", _postgres),
}


async def open_store(store: str | os.PathLike[str], *, must_exist: bool = False) -> Store:
    """Open a store by the path of a file (SQLite) or its URL. A file that is not there is made, unless it `must_exist`.

    Raises:
        UsageError: no store is known by such a URL; the message lists those that are.
        StoreError: it cannot be opened; the message says why.
    """
    scheme, rest = parsed(store)
    return await _STORES[scheme][1](rest, must_exist)


def check_url(store: str | os.PathLike[str]) -> None:
    """
    Raises:
        UsageError: as `open_store`.
    """
    parsed(store)


def parsed(store: str | os.PathLike[str]) -> tuple[str, str]:
    """The scheme of a path or URL, and what follows it.

    Raises:
        UsageError: as `open_store`.
    """
    text = os.fspath(store)
    found = _URL.fullmatch(text) if isinstance(store, str) else None
    if found is None or os.sep in found[1]:
        return "sqlite", text
    if found[1] not in _STORES:
        known = ", ".join(dict.fromkeys(f"'{form}'" for form, _ in _STORES.values()))  # the rest may hold a password
        raise UsageError(f"no store is known by '{found[1]}:': give the path of a file, or one of {known}")
    return found[1], found[2]


def is_there(store: str) -> bool:
    """Whether opening it would make no new file.

    Raises:
        UsageError: as `open_store`.
    """
    scheme, rest = parsed(store)
    return scheme != "sqlite" or _file(rest).exists()


def _file(rest: str) -> Path:
    if not rest:
        raise UsageError("the URL names no file: give sqlite:PATH")
    return Path(rest.removeprefix("///"))
