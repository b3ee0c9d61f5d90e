"""Requests of other processes in PostgreSQL. `Log.commit` takes those that its records accept."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.protocol import GRANTED, START, InboxRow

_REQUEST = "id, tenant, run, kind, body"
# By another worker than $1.
_UNTAKEN = "(taker IS NULL OR taker IS NOT DISTINCT FROM $1 OR taker NOT IN (SELECT workers.id FROM cloche.workers))"


class PostgresInbox(Facet):
    """Implements `Inbox`."""

    async def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        await self._database.change(
            "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at, kept) VALUES ($1, $2, $3, $4, $5, $6, $7) "
            "ON CONFLICT (token) DO UPDATE SET body = excluded.body, answer = NULL, taker = NULL "
            f"WHERE inbox.answer <> '{GRANTED}' RETURNING {XID}",
            *(key.tenant, key.run, kind, body, token, at, kept),
        )

    async def requests(self, worker: str | None = None) -> list[InboxRow]:
        rows = await self._database.read(
            f"SELECT {_REQUEST} FROM cloche.inbox WHERE answer IS NULL AND ($1::text IS NULL OR CASE WHEN kind = '{START}' "
            f"THEN {_UNTAKEN} ELSE $1 = (SELECT coalesce(owner, $1) FROM cloche.runs "
            "WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run) END) ORDER BY id",
            worker,
        )
        return [_request_of(row) for row in rows]

    async def request(self, token: str) -> InboxRow | None:
        sql = f"SELECT {_REQUEST} FROM cloche.inbox WHERE token = $1 AND answer IS NULL"
        rows = await self._database.read(sql, token)
        return _request_of(rows[0]) if rows else None

    async def take(self, inbox_id: int, worker: str) -> bool:
        lives = "EXISTS (SELECT FROM cloche.workers WHERE workers.id = $1)"
        update = f"UPDATE cloche.inbox SET taker = $1 WHERE id = $2 AND answer IS NULL AND {_UNTAKEN} AND {lives}"
        return await self._database.change(f"{update} RETURNING {XID}", worker, inbox_id) == 1

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        untaken = "(taker IS NULL OR taker NOT IN (SELECT workers.id FROM cloche.workers))"
        update = f"UPDATE cloche.inbox SET answer = $2, body = '' WHERE id = $1 AND answer IS NULL AND {untaken}"
        return await self._database.change(f"{update} RETURNING {XID}", inbox_id, answer) == 1

    async def answer(self, token: str) -> str | None:
        rows = await self._database.read("SELECT answer FROM cloche.inbox WHERE token = $1", token)
        return rows[0]["answer"] if rows else None

    async def is_waiting(self, inbox_id: int) -> bool:
        sql = "SELECT 1 FROM cloche.inbox WHERE id = $1 AND answer IS NULL"
        return bool(await self._database.read(sql, inbox_id))

    async def resolve(self, inbox_id: int, answer: str) -> None:
        await self._database.change(
            "WITH gone AS (DELETE FROM cloche.inbox WHERE id = $1 AND NOT kept RETURNING id), "
            "kept AS (UPDATE cloche.inbox SET answer = $2, body = '' WHERE id = $1 AND kept AND answer IS NULL RETURNING id) "
            f"SELECT {XID} FROM (SELECT id FROM gone UNION ALL SELECT id FROM kept) AS changed",
            *(inbox_id, answer),
        )

    async def forget(self, token: str) -> None:
        delete = f"DELETE FROM cloche.inbox WHERE token = $1 AND answer IS NOT NULL RETURNING {XID}"
        await self._database.change(delete, token)


def _request_of(row: Any) -> InboxRow:
    return InboxRow(row["id"], RunKey(TenantId(row["tenant"]), RunId(row["run"])), row["kind"], row["body"])
