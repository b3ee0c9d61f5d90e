"""Attempts of remote steps, in PostgreSQL. They are put and removed by `write_all.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloche.history.ids import CallId, Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.protocol import Append
from cloche.store.remote import AttemptName, GivenBack, RemoteTask

_ROW = (
    "tenant, run, call, seq, step, path, sent_at, silence_ms, timeout_ms, is_pushed, holder, taken_at, beat, due_at, "
    "tries, problem"
)
_TO_TAKE = (
    "FROM cloche.remote_tasks WHERE holder IS NULL AND step = ANY($1::text[]) AND ($2::text IS NULL OR tenant = $2) "
    "AND (NOT $3 OR due_at IS NULL OR due_at <= $4)"
)
# As an array: what stands after IN may be looked for again, and would lock as many once more.
_TAKE = (
    "UPDATE cloche.remote_tasks SET holder = $5, taken_at = $4, is_pushed = $3, beat = 0 WHERE id = ANY(ARRAY("
    f"SELECT id {_TO_TAKE} ORDER BY id LIMIT $6 FOR UPDATE SKIP LOCKED)) RETURNING id, {_ROW}, body, {XID}"
)


class PostgresRemoteTasks(Facet):
    """Implements `RemoteTasks`."""

    async def remote_waiting(self) -> list[tuple[TenantId, str]]:
        sql = "SELECT DISTINCT tenant, step FROM cloche.remote_tasks WHERE holder IS NULL ORDER BY tenant, step"
        return [(TenantId(row["tenant"]), row["step"]) for row in await self._database.read(sql)]

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
        asked = (list(steps), tenant, pushed, at)
        if pushed and not await self._database.read(f"SELECT 1 {_TO_TAKE} LIMIT 1", *asked):
            return []  # no transaction where there is nothing to do
        rows = await self._database.write(_TAKE, *asked, holder, most)
        return [_task(row) for row in sorted(rows, key=lambda row: row["id"])]

    async def give_back_remote(self, name: AttemptName, due_at: TimeMs, problem: str) -> bool:
        update = (
            "UPDATE cloche.remote_tasks SET holder = NULL, taken_at = NULL, is_pushed = FALSE, beat = 0, tries = tries + 1, "
            "due_at = $5, problem = $6 WHERE tenant = $1 AND run = $2 AND call = $3 AND seq = $4 AND holder IS NOT NULL "
            f"AND is_pushed RETURNING {XID}"
        )
        values = (name.key.tenant, name.key.run, name.call, name.seq, due_at, problem)
        return await self._database.change(update, *values) == 1

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
        None if row["due_at"] is None else GivenBack(TimeMs(row["due_at"]), row["tries"], row["problem"]),
    )
