"""Which store a path or a URL names."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from cloche.errors import UsageError
from cloche.store.memory import MemoryStore
from cloche.store.protocol import Store
from cloche.store.sqlite import SqliteStore

MEMORY = "memory:"
POSTGRES = ("postgresql", "postgres")
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(.*)", re.DOTALL)  # one letter is a Windows drive


async def _memory(rest: str, must_exist: bool) -> Store:
    if rest:
        raise UsageError(f"a store in memory has no name: give '{MEMORY}' alone")
    return MemoryStore()


async def _sqlite(rest: str, must_exist: bool) -> Store:
    return SqliteStore(_file(rest), must_exist=must_exist)


def _driver() -> ModuleType:
    """What is there of PostgreSQL: nobody pays for it who has no store there."""
    try:
        return import_module("cloche.store.postgres")
    except ModuleNotFoundError as error:
        raise UsageError("a store in PostgreSQL needs its driver: pip install 'cloche[postgres]'") from error


async def _postgres(rest: str, must_exist: bool) -> Store:
    store: Store = await _driver().PostgresStore.open(f"postgresql:{rest}", must_exist=must_exist)
    return store


# By scheme: the form for people, and what opens it, given what follows the colon.
_STORES: dict[str, tuple[str, Callable[[str, bool], Awaitable[Store]]]] = {
    "sqlite": ("sqlite:PATH", _sqlite),
    "memory": (MEMORY, _memory),
    **dict.fromkeys(POSTGRES, ("postgresql://USER@HOST/DATABASE", _postgres)),
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


def shown(store: str) -> str:
    """A path or URL as it may be printed: without a password.

    Raises:
        UsageError: as `open_store`.
    """
    scheme, rest = parsed(store)
    return str(_driver().Address.parse(f"postgresql:{rest}").shown) if scheme in POSTGRES else store


async def migrate(store: str, *, worker_role: str | None = None, prune_role: str | None = None) -> list[int]:
    """Bring a store to the version of this cloche; returns the versions that it went through. A file is when it is opened.

    Raises:
        UsageError: as `open_store`; or it knows no roles.
        StoreError: it cannot be opened, or the role may not change it.
    """
    scheme, rest = parsed(store)
    if scheme in POSTGRES:
        driver = _driver()
        address = driver.Address.parse(f"postgresql:{rest}")
        return list(await driver.migrate(address, worker_role=worker_role, prune_role=prune_role))
    _refuse_roles(worker_role, prune_role)
    await (await open_store(store)).close()
    return []


def migrations(store: str, *, worker_role: str | None = None, prune_role: str | None = None) -> str:
    """What `migrate` does to an empty database, as SQL.

    Raises:
        UsageError: as `migrate`; or it is not a database that people change by SQL.
    """
    scheme, rest = parsed(store)
    if scheme not in POSTGRES:
        raise UsageError("only a store in PostgreSQL is migrated by SQL; a file is when it is opened")
    driver = _driver()
    schema = driver.Address.parse(f"postgresql:{rest}").schema
    return str(driver.printed(schema, worker_role=worker_role, prune_role=prune_role))


def _refuse_roles(*roles: str | None) -> None:
    if any(roles):
        raise UsageError("only a store in PostgreSQL has roles")


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
