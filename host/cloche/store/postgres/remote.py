"""Attempts of remote steps, in PostgreSQL. They are put and removed by `write_all.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloche.history.ids import CallId, Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.protocol import Append
from cloche.store.remote import AttemptName, RemoteTask

_ROW = "tenant, run, call, seq, step, path, sent_at, silence_ms, timeout_ms, is_pushed, holder, taken_at, beat"
_TAKE = (
    "UPDATE cloche.remote_tasks SET holder = $1, taken_at = $2, beat = 0 WHERE id IN (SELECT id FROM cloche.remote_tasks "
    "WHERE holder IS NULL AND is_pushed = $3 AND step = ANY($4::text[]) AND ($5::text IS NULL OR tenant = $5) "
    f"ORDER BY id LIMIT $6 FOR UPDATE SKIP LOCKED) RETURNING id, {_ROW}, body, {XID}"
)


class PostgresRemoteTasks(Facet):
    """Implements `RemoteTasks`."""

    async def remote_waiting(self) -> list[tuple[TenantId, str, bool]]:
        sql = (
            "SELECT DISTINCT tenant, step, is_pushed FROM cloche.remote_tasks WHERE holder IS NULL "
            "ORDER BY tenant, step, is_pushed"
        )
        return [(TenantId(row["tenant"]), row["step"], row["is_pushed"]) for row in await self._database.read(sql)]

    async def take_remote(
        self,
        steps: Sequence[str],
        most: int,
        holder: str,
        at: TimeMs,
        *,
        tenant: TenantId | None = None,
        pushed: bool = False,
    ) -> list[RemoteTask]:
        rows = await self._database.write(_TAKE, holder, at, pushed, list(steps), tenant, most)
        return [_task(row) for row in sorted(rows, key=lambda row: row["id"])]

    async def beat_remote(self, name: AttemptName) -> bool:
        update = (
            "UPDATE cloche.remote_tasks SET beat = beat + 1 WHERE tenant = $1 AND run = $2 AND call = $3 "
            f"AND seq = $4 AND holder IS NOT NULL RETURNING {XID}"
        )
        values = (name.key.tenant, name.key.run, name.call, name.seq)
        return await self._database.change(update, *values) == 1

    async def remote_tasks(
        self, *, tenant: TenantId | None = None, key: RunKey | None = None, taken: bool = False
    ) -> list[RemoteTask]:
        tenant = key.tenant if key is not None else tenant
        sql = (
            f"SELECT {_ROW}, ''::bytea AS body FROM cloche.remote_tasks WHERE ($1::text IS NULL OR tenant = $1) "
            "AND ($2::text IS NULL OR run = $2) AND (NOT $3 OR holder IS NOT NULL) ORDER BY id"
        )
        return [_task(row) for row in await self._database.read(sql, tenant, key.run if key else None, taken)]

    async def remote_secret(self, proposed: bytes) -> bytes:
        rows = await self._database.read("SELECT secret FROM cloche.remote_secret")
        if not rows:
            insert = "INSERT INTO cloche.remote_secret (id, secret) VALUES (1, $1) ON CONFLICT DO NOTHING"
            await self._database.change(f"{insert} RETURNING {XID}", proposed)
            rows = await self._database.read("SELECT secret FROM cloche.remote_secret")
        return bytes(rows[0]["secret"])


def sent_columns(place: int, append: Append) -> list[tuple[Any, ...]]:
    """What an append sends, as rows of `write_all`."""
    return [
        (
            *(place, task.key.tenant, task.key.run, task.call, task.seq),
            *(task.step, task.path.encode(), task.sent_at, task.silence_ms, task.timeout_ms, task.is_pushed, task.body),
        )
        for task in append.sent
    ]


def _task(row: Any) -> RemoteTask:
    return RemoteTask(
        RunKey(TenantId(row["tenant"]), RunId(row["run"])),
        CallId(row["call"]),
        Seq(row["seq"]),
        row["step"],
        Path(bytes(row["path"]).decode()),
        TimeMs(row["sent_at"]),
        row["silence_ms"],
        row["timeout_ms"],
        row["is_pushed"],
        row["holder"],
        None if row["taken_at"] is None else TimeMs(row["taken_at"]),
        row["beat"],
        row["body"],
    )
