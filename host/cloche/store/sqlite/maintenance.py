"""What an operator does with a SQLite store: delete runs, collect what no run needs, check everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cloche.history.ids import RunKey, TimeMs
from cloche.store.protocol import Collected, Finding
from cloche.store.sqlite import retention
from cloche.store.sqlite.audit import audit
from cloche.store.sqlite.database import Facet


class SqliteMaintenance(Facet):
    """Implements `Maintenance` on a connection."""

    def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        with self._database.transaction() as db:
            return [key for key in keys if retention.delete(db, key, at)]

    def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        with self._database.transaction() as db:
            return retention.collect(db, needs)

    def audit(self, key: RunKey | None = None) -> Iterator[Finding]:
        yield from audit(self._database.connection, key)
