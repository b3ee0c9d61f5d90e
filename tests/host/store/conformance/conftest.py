"""The stores that the suite of this folder is run against: a new one belongs in `support.stores.MAKERS`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from support.stores import MAKERS

from cloche.store import Finding, Store


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: FilePath) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    assert asyncio.run(_audited(made)) == []  # whatever a test did through the protocol, the log is whole


async def _audited(store: Store) -> list[Finding]:
    findings = await store.audit()
    await store.close()
    return findings
