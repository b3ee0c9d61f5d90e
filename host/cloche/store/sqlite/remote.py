"""Attempts of remote steps, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from cloche.history.ids import CallId, Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.store.protocol import Append
from cloche.store.remote import AttemptName, GivenBack, RemoteTask
from cloche.store.sqlite.database import Facet

_SENT = "tenant, run, call, seq, step, path, sent_at, silence_ms, timeout_ms, is_pushed, holder, taken_at, beat"
_ROW = f"{_SENT}, due_at, tries, problem"
_OF_CALL = "WHERE tenant = ? AND run = ? AND call = ?"
_PUT = f"INSERT INTO remote_tasks ({_SENT}, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, 0, ?)"
# The index by name: what others have taken is not looked at.
_TO_TAKE = (
    "FROM remote_tasks INDEXED BY remote_tasks_waiting WHERE holder IS NULL AND step IN (SELECT value FROM json_each(?1)) "
    "AND (?2 IS NULL OR tenant = ?2) AND (NOT ?3 OR due_at IS NULL OR due_at <= ?4)"
)
_TAKE = (
    "UPDATE remote_tasks SET holder = ?5, taken_at = ?4, is_pushed = ?3, beat = 0 "
    f"WHERE id IN (SELECT id {_TO_TAKE} ORDER BY id LIMIT ?6) RETURNING id, {_ROW}, body"
)


class SqliteRemoteTasks(Facet):
    """Implements `RemoteTasks` on a connection."""

    async def remote_waiting(self) -> list[tuple[TenantId, str]]:
        sql = (
            "SELECT DISTINCT tenant, step FROM remote_tasks INDEXED BY remote_tasks_waiting "
            "WHERE holder IS NULL ORDER BY tenant, step"
        )
        return [(TenantId(tenant), step) for tenant, step in await self._database.select(sql)]

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
        asked = (json.dumps(list(steps)), tenant, pushed, at)
        if pushed and not await self._database.select(f"SELECT 1 {_TO_TAKE} LIMIT 1", asked):
            return []  # no transaction where there is nothing to do
        rows = await self._database.write(lambda db: db.execute(_TAKE, (*asked, holder, most)).fetchall())
        return [_task(row[1:]) for row in sorted(rows, key=lambda row: row[0])]

    async def give_back_remote(self, name: AttemptName, due_at: TimeMs, problem: str) -> bool:
        update = (
            "UPDATE remote_tasks SET holder = NULL, taken_at = NULL, is_pushed = 0, beat = 0, tries = tries + 1, "
            f"due_at = ?, problem = ? {_OF_CALL} AND seq = ? AND holder IS NOT NULL AND is_pushed"
        )
        values = (due_at, problem, name.key.tenant, name.key.run, name.call, name.seq)
        return await self._database.change(update, values) == 1

    async def beat_remote(self, name: AttemptName) -> bool:
        update = f"UPDATE remote_tasks SET beat = beat + 1 {_OF_CALL} AND seq = ? AND holder IS NOT NULL"
        values = (name.key.tenant, name.key.run, name.call, name.seq)
        return await self._database.change(update, values) == 1

    async def remote_tasks(
        self, *, tenant: TenantId | None = None, key: RunKey | None = None, taken: bool = False
    ) -> list[RemoteTask]:
        terms, values = ["TRUE"], list[Any]()
        if key is not None:
            terms, values = ["tenant = ?", "run = ?"], [key.tenant, key.run]
        elif tenant is not None:
            terms, values = ["tenant = ?"], [tenant]
        if taken:
            terms.append("holder IS NOT NULL")
        sql = f"SELECT {_ROW}, x'' FROM remote_tasks WHERE {' AND '.join(terms)} ORDER BY id"
        return [_task(row) for row in await self._database.select(sql, values)]

    async def remote_secret(self, proposed: bytes) -> bytes:
        rows = await self._database.select("SELECT secret FROM remote_secret")
        if not rows:
            insert = "INSERT INTO remote_secret (id, secret) VALUES (1, ?) ON CONFLICT DO NOTHING"
            await self._database.change(insert, (proposed,))
            rows = await self._database.select("SELECT secret FROM remote_secret")
        return bytes(rows[0][0])


def follow_remote(db: sqlite3.Connection, append: Append) -> None:
    """Within a commit: the attempts that it sends, and those that are not wanted any more."""
    key = append.key
    gone = [*append.returned, *(task.call for task in append.sent)]
    if gone:
        db.executemany(f"DELETE FROM remote_tasks {_OF_CALL}", [(key.tenant, key.run, call) for call in gone])
    if append.sent:
        db.executemany(_PUT, [_values(task) for task in append.sent])


def _values(task: RemoteTask) -> tuple[Any, ...]:
    name = (task.key.tenant, task.key.run, task.call, task.seq)
    times = (task.sent_at, task.silence_ms, task.timeout_ms)
    return (*name, task.step, task.path, *times, task.is_pushed, task.body)


def _task(row: Sequence[Any]) -> RemoteTask:
    tenant, run, call, seq, step, path, *rest = row
    sent_at, silence_ms, timeout_ms, is_pushed, holder, taken_at, beat, due_at, tries, problem, body = rest
    return RemoteTask(
        RunKey(TenantId(tenant), RunId(run)),
        CallId(call),
        Seq(seq),
        step,
        Path(path),
        TimeMs(sent_at),
        silence_ms,
        timeout_ms,
        bool(is_pushed),
        holder,
        None if taken_at is None else TimeMs(taken_at),
        beat,
        body,
        None if due_at is None else GivenBack(TimeMs(due_at), tries, problem),
    )
