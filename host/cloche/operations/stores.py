"""A store, opened for one look or one change. Nobody who executes its runs is disturbed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloche.history.ids import TimeMs
from cloche.run.clock import SystemWorld
from cloche.store import (
    AuditEntry,
    Collected,
    Finding,
    Hold,
    Metered,
    Store,
    Version,
    is_there,
    migrate,
    migrations,
    open_store,
    shown,
)

__all__ = [
    "AuditEntry",
    "Collected",
    "Finding",
    "Hold",
    "Metered",
    "Store",
    "Version",
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
    found = await open_store(store, must_exist=must_exist)
    try:
        yield found
    finally:
        await found.close()


def now() -> TimeMs:
    """Wall time in ms since 1970."""
    return SystemWorld().now()
