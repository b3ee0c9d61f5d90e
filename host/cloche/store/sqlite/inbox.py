"""Requests of other processes in SQLite. `Log.commit` takes those that its records accept."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.store.protocol import GRANTED, START, InboxRow
from cloche.store.sqlite.database import Facet

_REQUEST = "id, tenant, run, kind, body"
_UNTAKEN = "(taker IS NULL OR taker IS ?1 OR taker NOT IN (SELECT id FROM workers))"  # by another one than ?1


class SqliteInbox(Facet):
    """Implements `Inbox` on a connection."""

    async def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        await self._database.change(
            "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (token) DO UPDATE SET body = excluded.body, answer = NULL, taker = NULL "
            f"WHERE answer <> '{GRANTED}'",
            (key.tenant, key.run, kind, body, token, at, kept),
        )

    async def requests(self, worker: str | None = None) -> list[InboxRow]:
        rows = await self._database.select(
            f"SELECT {_REQUEST} FROM inbox WHERE answer IS NULL AND (?1 IS NULL OR iif(kind = '{START}', {_UNTAKEN}, ?1 = "
            "(SELECT coalesce(owner, ?1) FROM runs WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run))) ORDER BY id",
            (worker,),
        )
        return [_request_of(row) for row in rows]

    async def request(self, token: str) -> InboxRow | None:
        rows = await self._database.select(f"SELECT {_REQUEST} FROM inbox WHERE token = ? AND answer IS NULL", (token,))
        return _request_of(rows[0]) if rows else None

    async def take(self, inbox_id: int, worker: str) -> bool:
        lives = "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"
        update = f"UPDATE inbox SET taker = ?1 WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND {lives}"
        return await self._database.change(update, (worker, inbox_id)) == 1

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        update = (
            f"UPDATE inbox SET answer = ?3, body = x'' WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND ?1 IS ?1"
        )
        return await self._database.change(update, (None, inbox_id, answer)) == 1

    async def answer(self, token: str) -> str | None:
        rows = await self._database.select("SELECT answer FROM inbox WHERE token = ?", (token,))
        return rows[0][0] if rows else None

    async def is_waiting(self, inbox_id: int) -> bool:
        return bool(await self._database.select("SELECT 1 FROM inbox WHERE id = ? AND answer IS NULL", (inbox_id,)))

    async def resolve(self, inbox_id: int, answer: str) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM inbox WHERE id = ? AND NOT kept", (inbox_id,))
            update = "UPDATE inbox SET answer = ?, body = x'' WHERE id = ? AND answer IS NULL"
            db.execute(update, (answer, inbox_id))

        await self._database.write(write)

    async def forget(self, token: str) -> None:
        await self._database.change("DELETE FROM inbox WHERE token = ? AND answer IS NOT NULL", (token,))


def _request_of(row: Sequence[Any]) -> InboxRow:
    id, tenant, run, kind, body = row
    return InboxRow(id, RunKey(TenantId(tenant), RunId(run)), kind, body)
