"""Webhooks, in SQLite. What is to be delivered is written by a trigger of the table `runs`."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.sqlite.database import Facet
from cloche.store.webhooks import RECEIVED_MS, Delivery, WebhookRow

_WEBHOOK = "tenant, name, form, url, secret, stops, created_at"
_DELIVERY = "id, tenant, webhook, run, workflow, status, seq, at, attempts, due_at, problem"


class SqliteWebhooks(Facet):
    """Implements `Webhooks` on a connection."""

    async def put_webhook(self, webhook: WebhookRow) -> None:
        one = webhook
        values = (one.tenant, one.name, one.form, one.url, one.secret, " ".join(one.stops), one.created_at)
        await self._database.change(
            f"INSERT OR REPLACE INTO webhooks ({_WEBHOOK}) VALUES (?, ?, ?, ?, ?, ?, ?)", values
        )

    async def webhook(self, tenant: TenantId, name: str) -> WebhookRow | None:
        sql = f"SELECT {_WEBHOOK} FROM webhooks WHERE tenant = ? AND name = ?"
        rows = await self._database.select(sql, (tenant, name))
        return _webhook(rows[0]) if rows else None

    async def webhooks(self, tenant: TenantId | None = None, form: str | None = None) -> list[WebhookRow]:
        wanted = "(?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR form = ?2)"
        sql = f"SELECT {_WEBHOOK} FROM webhooks WHERE {wanted} ORDER BY tenant, name"
        return [_webhook(row) for row in await self._database.select(sql, (tenant, form))]

    async def delete_webhook(self, tenant: TenantId, name: str) -> bool:
        def write(db: Any) -> bool:
            db.execute("DELETE FROM deliveries WHERE tenant = ? AND webhook = ?", (tenant, name))
            return bool(db.execute("DELETE FROM webhooks WHERE tenant = ? AND name = ?", (tenant, name)).rowcount)

        return await self._database.write(write)

    async def claim_deliveries(self, now: TimeMs, until: TimeMs, limit: int) -> list[Delivery]:
        if not await self._database.select("SELECT 1 FROM deliveries WHERE due_at <= ? LIMIT 1", (now,)):
            return []  # no transaction where there is nothing to do

        def write(db: Any) -> list[Delivery]:
            sql = (
                "UPDATE deliveries SET due_at = ?2, attempts = attempts + 1 WHERE id IN "
                "(SELECT id FROM deliveries WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?3) "
                f"RETURNING {_DELIVERY}"
            )
            return sorted((Delivery(*row) for row in db.execute(sql, (now, until, limit))), key=lambda one: one.id)

        return await self._database.write(write)

    async def end_delivery(self, id: int) -> None:
        await self._database.change("DELETE FROM deliveries WHERE id = ?", (id,))

    async def postpone_delivery(self, id: int, due_at: TimeMs | None, problem: str) -> None:
        await self._database.change("UPDATE deliveries SET due_at = ?, problem = ? WHERE id = ?", (due_at, problem, id))

    async def deliveries(self, tenant: TenantId, webhook: str, limit: int = 100) -> list[Delivery]:
        sql = f"SELECT {_DELIVERY} FROM deliveries WHERE tenant = ? AND webhook = ? ORDER BY id DESC LIMIT ?"
        return [Delivery(*row) for row in await self._database.select(sql, (tenant, webhook, limit))]

    async def note_received(self, tenant: TenantId, id: str, run: str, at: TimeMs) -> None:
        def write(db: Any) -> None:
            db.execute("DELETE FROM received WHERE at < ?", (at - RECEIVED_MS,))
            db.execute("INSERT INTO received VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (tenant, id, run, at))

        await self._database.write(write)

    async def received(self, tenant: TenantId, id: str) -> str | None:
        rows = await self._database.select("SELECT run FROM received WHERE tenant = ? AND id = ?", (tenant, id))
        return str(rows[0][0]) if rows else None


def _webhook(row: Any) -> WebhookRow:
    tenant, name, form, url, secret, stops, created_at = row
    return WebhookRow(tenant, name, form, url, secret, tuple(stops.split()), created_at)
