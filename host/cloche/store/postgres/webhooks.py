"""Webhooks, in PostgreSQL. What is to be delivered is written by a trigger of the table `runs`."""

from __future__ import annotations

from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID
from cloche.store.webhooks import RECEIVED_MS, Delivery, WebhookRow

_WEBHOOK = "tenant, name, form, url, secret, stops, created_at"
_SET = ", ".join(f"{name} = excluded.{name}" for name in _WEBHOOK.split(", ")[2:])
_DELIVERY = "id, tenant, webhook, run, workflow, status, seq, at, attempts, due_at, problem"


class PostgresWebhooks(Facet):
    """Implements `Webhooks`."""

    async def put_webhook(self, webhook: WebhookRow) -> None:
        one = webhook
        values = (one.tenant, one.name, one.form, one.url, one.secret, list(one.stops), one.created_at)
        await self._database.write(
            f"INSERT INTO cloche.webhooks ({_WEBHOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7) "
            f"ON CONFLICT (tenant, name) DO UPDATE SET {_SET} RETURNING {XID}",
            *values,
        )

    async def webhook(self, tenant: TenantId, name: str) -> WebhookRow | None:
        sql = f"SELECT {_WEBHOOK} FROM cloche.webhooks WHERE tenant = $1 AND name = $2"
        rows = await self._database.read(sql, tenant, name)
        return _webhook(rows[0]) if rows else None

    async def webhooks(self, tenant: TenantId | None = None, form: str | None = None) -> list[WebhookRow]:
        wanted = "($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR form = $2)"
        sql = f"SELECT {_WEBHOOK} FROM cloche.webhooks WHERE {wanted} ORDER BY tenant, name"
        return [_webhook(row) for row in await self._database.read(sql, tenant, form)]

    async def delete_webhook(self, tenant: TenantId, name: str) -> bool:
        sql = (
            "WITH undelivered AS (DELETE FROM cloche.deliveries WHERE tenant = $1 AND webhook = $2) "
            f"DELETE FROM cloche.webhooks WHERE tenant = $1 AND name = $2 RETURNING {XID}"
        )
        return await self._database.change(sql, tenant, name) == 1

    async def claim_deliveries(self, now: TimeMs, until: TimeMs, limit: int) -> list[Delivery]:
        if not await self._database.read("SELECT 1 FROM cloche.deliveries WHERE due_at <= $1 LIMIT 1", now):
            return []  # no transaction where there is nothing to do
        sql = (
            "UPDATE cloche.deliveries SET due_at = $2, attempts = attempts + 1 WHERE id = ANY(ARRAY("
            "SELECT id FROM cloche.deliveries WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)) "
            f"RETURNING {_DELIVERY}, {XID}"
        )
        rows = await self._database.write(sql, now, until, limit)
        return sorted((_delivery(row) for row in rows), key=lambda one: one.id)

    async def end_delivery(self, id: int) -> None:
        await self._database.change(f"DELETE FROM cloche.deliveries WHERE id = $1 RETURNING {XID}", id)

    async def postpone_delivery(self, id: int, due_at: TimeMs | None, problem: str) -> None:
        sql = f"UPDATE cloche.deliveries SET due_at = $2, problem = $3 WHERE id = $1 RETURNING {XID}"
        await self._database.change(sql, id, due_at, problem)

    async def deliveries(self, tenant: TenantId, webhook: str, limit: int = 100) -> list[Delivery]:
        sql = f"SELECT {_DELIVERY} FROM cloche.deliveries WHERE tenant = $1 AND webhook = $2 ORDER BY id DESC LIMIT $3"
        return [_delivery(row) for row in await self._database.read(sql, tenant, webhook, limit)]

    async def note_received(self, tenant: TenantId, id: str, run: str, at: TimeMs) -> None:
        sql = (
            "WITH old AS (DELETE FROM cloche.received WHERE at < $5) "
            "INSERT INTO cloche.received (tenant, id, run, at) VALUES ($1, $2, $3, $4) "
            f"ON CONFLICT DO NOTHING RETURNING {XID}"
        )
        await self._database.write(sql, tenant, id, run, at, at - RECEIVED_MS)

    async def received(self, tenant: TenantId, id: str) -> str | None:
        rows = await self._database.read("SELECT run FROM cloche.received WHERE tenant = $1 AND id = $2", tenant, id)
        return str(rows[0][0]) if rows else None


def _webhook(row: Any) -> WebhookRow:
    tenant, name, form, url, secret, stops, created_at = row
    return WebhookRow(tenant, name, form, url, secret, tuple(stops), created_at)


def _delivery(row: Any) -> Delivery:
    return Delivery(*tuple(row)[: len(_DELIVERY.split(", "))])
