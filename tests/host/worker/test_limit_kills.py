"""Three workers as processes, killed again and again, while steps and runs wait for limits: on a file, and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.limit_kills import campaign
from support.postgres import require, shared_schemas

SEED = int(os.environ.get("CLOCHE_SEED", "20261129"))
RUNS = int(os.environ.get("CLOCHE_LIMITED_RUNS", "24"))  # `make limits` lets 600 go through


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_more_are_under_way_at_once_than_a_limit_has(kind: str, tmp_path: Path) -> None:
    print(f"CLOCHE_SEED={SEED}")
    journal = tmp_path / "journal"
    if kind == "sqlite":
        assert asyncio.run(campaign(str(tmp_path / "runs.db"), journal, RUNS, SEED)) > 0
        return
    require()
    with shared_schemas().lend() as url:
        assert asyncio.run(campaign(url, journal, RUNS, SEED)) > 0
