"""A store's file, opened for one look or one change. Nobody who executes its runs is disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cloche.history.ids import TimeMs
from cloche.run.clock import SystemWorld
from cloche.store import Finding, SqliteStore
from cloche.store.sqlite import backup

__all__ = ["Finding", "StoreFile", "back_up", "now", "opened"]

StoreFile = SqliteStore


@contextmanager
def opened(path: str | Path, *, must_exist: bool = True) -> Iterator[StoreFile]:
    """The store at `path`, closed afterwards.

    Raises:
        StoreError: it is not there (`must_exist`), or cannot be opened.
    """
    with closing(SqliteStore(path, must_exist=must_exist)) as store:
        yield store


def back_up(store: StoreFile, target: Path) -> int:
    """Copy a store to a new file while it is used; its size in bytes. Raises as `store.sqlite.backup.back_up`."""
    return backup.back_up(store, target)


def now() -> TimeMs:
    """Wall time in ms since 1970."""
    return SystemWorld().now()
