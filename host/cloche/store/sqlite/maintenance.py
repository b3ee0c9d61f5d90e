"""What an operator does with a SQLite store: delete runs, collect what no run needs, check everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from cloche.history.ids import RunKey, TimeMs
from cloche.store.protocol import Collected, Finding
from cloche.store.sqlite import backup, retention
from cloche.store.sqlite.audit import audit
from cloche.store.sqlite.database import Facet


class SqliteMaintenance(Facet):
    """Implements `Maintenance` on a connection."""

    async def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        return await self._database.write_beside(lambda db: [key for key in keys if retention.delete(db, key, at)])

    async def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        return await self._database.write_beside(lambda db: retention.collect(db, needs))

    async def shrink(self, pages: int) -> int:
        def write(db: sqlite3.Connection) -> int:
            [[free]] = db.execute("PRAGMA freelist_count").fetchall()
            for _ in range(min(free, pages)):  # Python's sqlite3 takes one step of the pragma, and so frees one page
                db.execute("PRAGMA incremental_vacuum(1)")
            [[left]] = db.execute("PRAGMA freelist_count").fetchall()
            return int(free - left)

        freed = await self._database.write_beside(write)
        await self._database.beside(self._database.copy_wal)  # until then the file is as long as it was
        return freed

    async def back_up(self, target: Path) -> int:
        return await self._database.beside(lambda: backup.back_up(self._database.path, target))

    async def audit(self, key: RunKey | None = None) -> list[Finding]:
        return await self._database.read(lambda db: list(audit(db, key)))
