"""The stores that the suite of this folder is run against: a new one belongs in `MAKERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from cloche.store import (
    MemoryStore,
    SqliteStore,
    Store,
)

MAKERS: dict[str, Callable[[FilePath], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "runs.db"),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    assert list(made.audit()) == []  # whatever a test did through the protocol, the log is whole
    made.close()
