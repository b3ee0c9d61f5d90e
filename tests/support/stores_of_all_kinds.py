"""The stores that every suite of stores is run against: a new one belongs in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path as FilePath
from typing import Any, TypeAlias

from support.postgres import require, shared_schemas

from cloche.store import MemoryStore, SqliteStore, Store

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]  # on the loop that the store will be used on
Maker: TypeAlias = Callable[[FilePath, Run], AbstractContextManager[Store]]


@contextmanager
def _memory(folder: FilePath, run: Run) -> Iterator[Store]:
    yield MemoryStore()


@contextmanager
def _sqlite(folder: FilePath, run: Run) -> Iterator[Store]:
    yield SqliteStore(folder / "runs.db")


@contextmanager
def _postgres(folder: FilePath, run: Run) -> Iterator[Store]:
    from cloche.store.postgres import PostgresStore

    require()
    with shared_schemas().lend() as url:
        yield run(PostgresStore.open(url))


# Each is empty, and for whoever made it to close.
STORES: dict[str, Maker] = {"memory": _memory, "sqlite": _sqlite, "postgres": _postgres}
