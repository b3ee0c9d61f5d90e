"""The stores that the suites of this folder are run against.

All that a test and its fixtures do is on one loop. A test module says in `WORKERS` which workers have joined beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from support.apps import one_loop, run_in_loop
from support.stores_of_all_kinds import STORES

from cloche.store import Checkpoints, Store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        for worker in getattr(request.module, "WORKERS", ()):
            run_in_loop(made.leases.join(worker))
        yield made
        findings = run_in_loop(made.audit())
        run_in_loop(made.close())
        assert findings == []  # whatever a test did through the protocol, the log is whole


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Checkpoints]:
    """The checkpoints of a store."""
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made.checkpoints
        run_in_loop(made.close())
