"""The stores that the suites of this folder are run against: a new one belongs in `STORES`.

All that a test and its fixtures do is on one loop. A test module says in `WORKERS` which workers have joined beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path as FilePath

import pytest
from support.apps import one_loop, run_in_loop
from support.postgres import require, shared_schemas

from cloche.store import Checkpoints, MemoryStore, SqliteStore, Store
from cloche.store.postgres import PostgresStore


@contextmanager
def _memory(folder: FilePath) -> Iterator[Store]:
    yield MemoryStore()


@contextmanager
def _sqlite(folder: FilePath) -> Iterator[Store]:
    yield SqliteStore(folder / "runs.db")


@contextmanager
def _postgres(folder: FilePath) -> Iterator[Store]:
    require()
    with shared_schemas().lend() as url:
        yield run_in_loop(PostgresStore.open(url))


STORES: dict[str, Callable[[FilePath], AbstractContextManager[Store]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path) as made:
        for worker in getattr(request.module, "WORKERS", ()):
            run_in_loop(made.leases.join(worker))
        yield made
        findings = run_in_loop(made.audit())
        run_in_loop(made.close())
        assert findings == []  # whatever a test did through the protocol, the log is whole


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Checkpoints]:
    """The checkpoints of a store."""
    with one_loop(), STORES[request.param](tmp_path) as made:
        yield made.checkpoints
        run_in_loop(made.close())
