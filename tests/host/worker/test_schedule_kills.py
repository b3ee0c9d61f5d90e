"""Two workers as processes, killed again and again, while schedules come due: on a file, and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.postgres import require, shared_schemas
from support.schedule_kills import campaign

SEED = int(os.environ.get("CLOCHE_SEED", "20261129"))
INSTANTS = int(os.environ.get("CLOCHE_INSTANTS", "100"))  # `make schedules` lets 1,000 come


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_instant_begins_one_run(kind: str, tmp_path: Path) -> None:
    print(f"CLOCHE_SEED={SEED}")
    if kind == "sqlite":
        assert asyncio.run(campaign(str(tmp_path / "runs.db"), INSTANTS, SEED)) > 0
        return
    require()
    with shared_schemas().lend() as url:
        assert asyncio.run(campaign(url, INSTANTS, SEED)) > 0
