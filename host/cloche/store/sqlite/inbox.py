"""Requests of other processes in SQLite. `Log.commit` takes those that its records accept."""

from __future__ import annotations

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.store.protocol import GRANTED, InboxRow
from cloche.store.sqlite.database import Facet


class SqliteInbox(Facet):
    """Implements `Inbox` on a connection."""

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept) VALUES (?, ?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (token) DO UPDATE SET body = excluded.body, answer = NULL WHERE answer <> '{GRANTED}'",
                (key.tenant, key.run, kind, body, token, at, kept),
            )

    def requests(self, worker: str | None = None) -> list[InboxRow]:
        rows = self._database.select(
            "SELECT id, tenant, run, kind, body FROM inbox WHERE answer IS NULL AND (?1 IS NULL OR ?1 = "
            "(SELECT coalesce(owner, ?1) FROM runs WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run)) ORDER BY id",
            (worker,),
        )
        return [InboxRow(id, RunKey(TenantId(tenant), RunId(run)), *request) for id, tenant, run, *request in rows]

    def answer(self, token: str) -> str | None:
        rows = self._database.select("SELECT answer FROM inbox WHERE token = ?", (token,))
        return rows[0][0] if rows else None

    def is_waiting(self, inbox_id: int) -> bool:
        return bool(self._database.select("SELECT 1 FROM inbox WHERE id = ? AND answer IS NULL", (inbox_id,)))

    def resolve(self, inbox_id: int, answer: str) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM inbox WHERE id = ? AND NOT kept", (inbox_id,))
            update = "UPDATE inbox SET answer = ?, body = x'' WHERE id = ? AND answer IS NULL"
            db.execute(update, (answer, inbox_id))

    def forget(self, token: str) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM inbox WHERE token = ? AND answer IS NOT NULL", (token,))
