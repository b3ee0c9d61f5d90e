"""The statements and grants of this version of the store in PostgreSQL, as `tests/histories/postgres-N.json` keeps them.

Before the schema gets a new version, those of the one that is left behind are written, by whatever the suites of stores do:

    python -m pytest -p no:xdist -p support.postgres_statements -k postgres
        tests/host/store/conformance tests/host/store/test_leases.py tests/host/store/test_checkpoints.py

A file that is there is never written again: workers of its version may still be at work.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cloche.store.postgres import database, migrations, presence
from cloche.store.postgres.statements import SQL, in_schema

HISTORIES = Path(__file__).parents[1] / "histories"
_found: set[str] = set()


def _recorded(sql: str, schema: str) -> str:
    _found.add(sql)
    return in_schema(sql, schema)


def pytest_configure(config: pytest.Config) -> None:
    for module in (database, presence):
        module.in_schema = _recorded  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    file = HISTORIES / f"postgres-{migrations.VERSION}.json"
    grants = [(SQL / f"grants_{role}.sql").read_text() for role in ("worker", "prune")]
    kept = {"grants": grants, "statements": sorted(filter(_is_planned, _found))}
    with file.open("x") as out:
        out.write(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _is_planned(sql: str) -> bool:
    """Whether it reads or writes tables of the store; others have no plan."""
    first = re.sub(r"--[^\n]*\n", "", sql).split()[0].upper()
    return first in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH") and "cloche." in sql
