"""A store, opened for one look or one change. Nobody who executes its runs is disturbed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloche import store as stores
from cloche.errors import UsageError
from cloche.history.ids import TimeMs
from cloche.operations.acts import Act, write_act
from cloche.run.clock import SystemWorld
from cloche.store import (
    AuditEntry,
    Collected,
    Finding,
    Hold,
    Metered,
    Store,
    Stored,
    Version,
    migrations,
    open_store,
)

__all__ = [
    "AuditEntry",
    "Collected",
    "Finding",
    "Hold",
    "Metered",
    "Store",
    "Stored",
    "Version",
    "is_server",
    "is_there",
    "migrate",
    "migrations",
    "now",
    "opened",
    "shown",
]


@asynccontextmanager
async def opened(store: str | os.PathLike[str], *, must_exist: bool = True) -> AsyncIterator[Store]:
    """The store at a path or URL, closed afterwards.

    Raises:
        UsageError: no store is known by such a URL.
        StoreError: it is not there (`must_exist`), or cannot be opened.
    """
    if is_server(store):
        raise UsageError(f"{store} is a server: this needs the store itself, where that is")
    found = await open_store(store, must_exist=must_exist)
    try:
        yield found
    finally:
        await found.close()


async def migrate(
    store: str, *, worker_role: str | None = None, prune_role: str | None = None, by: str = ""
) -> list[int]:
    """Bring a store to this version: the versions that it went through. Raises as `opened`.

    `by`: who does it, for the audit log, which may be there only afterwards.
    """
    made = await stores.migrate(store, worker_role=worker_role, prune_role=prune_role)
    if made:
        async with opened(store) as found:
            await write_act(found, Act.MIGRATED, by, now(), to=made[-1])
    return made


def is_server(store: object) -> bool:
    """Whether this is the URL of a server (`cloche serve`), which has the store."""
    return isinstance(store, str) and store.startswith(("http://", "https://"))


def is_there(store: str) -> bool:
    """Whether opening it would make no new file. Raises as `opened`."""
    return is_server(store) or stores.is_there(store)


def shown(store: str) -> str:
    """A path or URL as it may be printed: without a password. Raises as `opened`."""
    return store if is_server(store) else stores.shown(store)


def now() -> TimeMs:
    """Wall time in ms since 1970."""
    return SystemWorld().now()
