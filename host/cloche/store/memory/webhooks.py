"""Webhooks, in memory."""

from __future__ import annotations

from dataclasses import replace

from cloche.history.ids import TenantId, TimeMs
from cloche.status import RunStatus
from cloche.store.memory.data import Facet, MemoryData
from cloche.store.runs import RunRow
from cloche.store.webhooks import OUT, RECEIVED_MS, Delivery, WebhookRow


class MemoryWebhooks(Facet):
    """Implements `Webhooks`."""

    async def put_webhook(self, webhook: WebhookRow) -> None:
        self._data.webhooks[webhook.tenant, webhook.name] = webhook
        self._connection.count_write()

    async def webhook(self, tenant: TenantId, name: str) -> WebhookRow | None:
        return self._data.webhooks.get((tenant, name))

    async def webhooks(self, tenant: TenantId | None = None, form: str | None = None) -> list[WebhookRow]:
        found = [one for key, one in sorted(self._data.webhooks.items()) if tenant in (None, key[0])]
        return [one for one in found if form in (None, one.form)]

    async def delete_webhook(self, tenant: TenantId, name: str) -> bool:
        self._connection.count_write()
        left = self._data.deliveries
        for id in [id for id, one in left.items() if (one.tenant, one.webhook) == (tenant, name)]:
            del left[id]
        return self._data.webhooks.pop((tenant, name), None) is not None

    async def claim_deliveries(self, now: TimeMs, until: TimeMs, limit: int) -> list[Delivery]:
        due = [(one.due_at, id) for id, one in self._data.deliveries.items() if one.due_at is not None]
        claimed = sorted(id for _, id in sorted(one for one in due if one[0] <= now)[:limit])
        for id in claimed:
            one = self._data.deliveries[id]
            self._data.deliveries[id] = replace(one, due_at=until, attempts=one.attempts + 1)
            self._connection.count_write()
        return [self._data.deliveries[id] for id in claimed]

    async def end_delivery(self, id: int) -> None:
        self._data.deliveries.pop(id, None)
        self._connection.count_write()

    async def postpone_delivery(self, id: int, due_at: TimeMs | None, problem: str) -> None:
        if (one := self._data.deliveries.get(id)) is not None:
            self._data.deliveries[id] = replace(one, due_at=due_at, problem=problem)
            self._connection.count_write()

    async def deliveries(self, tenant: TenantId, webhook: str, limit: int = 100) -> list[Delivery]:
        found = [one for one in self._data.deliveries.values() if (one.tenant, one.webhook) == (tenant, webhook)]
        return sorted(found, key=lambda one: -one.id)[:limit]

    async def note_received(self, tenant: TenantId, id: str, run: str, at: TimeMs) -> None:
        kept = {key: one for key, one in self._data.received.items() if one[1] >= at - RECEIVED_MS}
        self._data.received = {(tenant, id): (run, at), **kept}
        self._connection.count_write()

    async def received(self, tenant: TenantId, id: str) -> str | None:
        found = self._data.received.get((tenant, id))
        return found[0] if found is not None else None


def note_stop(data: MemoryData, before: RunStatus | None, row: RunRow) -> None:
    """Leave what is to be delivered, where a run that a worker executes has come to another status."""
    if row.status == before or not row.fence:
        return
    for (tenant, name), webhook in sorted(data.webhooks.items()):
        if tenant == row.key.tenant and webhook.form == OUT and row.status in webhook.stops:
            data.last_delivery += 1
            at, run = row.updated_at, row.key.run
            made = (tenant, name, run, row.workflow, str(row.status), row.head_seq, at, 0, at, None)
            data.deliveries[data.last_delivery] = Delivery(data.last_delivery, *made)
