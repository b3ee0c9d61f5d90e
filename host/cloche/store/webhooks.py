"""The facet of a store for webhooks: which there are, and what is still to be delivered.

What is to be delivered is written in the commit that makes it so: a run that stops while a webhook wants to know of it leaves a
row, whoever executes the run, and the row stays until somebody has answered for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cloche.history.ids import TenantId, TimeMs

RECEIVED_MS = 7 * 86_400_000  # for so long a webhook that was received is known when it comes again
OUT = "out"  # the form of webhooks that are sent; the others are of those that are received


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook of a tenant, by its name.

    `form` is `OUT`: it is sent to `url` when a run comes to one of `stops`, statuses of runs. `steps`: attempts are pushed to
    `url`; then `stops` are the ids of remote steps, percent-encoded. Else it is received, and signed in that form: `standard`,
    `github`, `stripe`. Both sides sign with `secret`, so it is kept as it is.
    """

    tenant: TenantId
    name: str
    form: str
    url: str
    secret: str
    stops: tuple[str, ...]
    created_at: TimeMs


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a webhook is still to be told: that a run came to `status` with its record `seq`, at `at`.

    `attempts` have begun; the next one is due at `due_at`, None: it was given up. `problem` is how the last one ended.
    """

    id: int
    tenant: TenantId
    webhook: str
    run: str
    workflow: str
    status: str
    seq: int
    at: TimeMs
    attempts: int
    due_at: TimeMs | None
    problem: str | None


class Webhooks(Protocol):
    """Raises as `Store`."""

    async def put_webhook(self, webhook: WebhookRow) -> None:
        """Keep a webhook, or put another one in the place of that of its name."""

    async def webhook(self, tenant: TenantId, name: str) -> WebhookRow | None:
        """The webhook of that name."""

    async def webhooks(self, tenant: TenantId | None = None, form: str | None = None) -> list[WebhookRow]:
        """All of them, or those of one tenant, or of one form, in the order of tenants and names."""

    async def delete_webhook(self, tenant: TenantId, name: str) -> bool:
        """Forget a webhook, with what was to be delivered by it; whether it was there."""

    async def claim_deliveries(self, now: TimeMs, until: TimeMs, limit: int) -> list[Delivery]:
        """Take up to `limit` deliveries that are due, for an attempt each: nobody else is given one of them before `until`."""

    async def end_delivery(self, id: int) -> None:
        """It was delivered: forget it."""

    async def postpone_delivery(self, id: int, due_at: TimeMs | None, problem: str) -> None:
        """The attempt failed; None: it was the last one."""

    async def deliveries(self, tenant: TenantId, webhook: str, limit: int = 100) -> list[Delivery]:
        """What is still to be delivered by a webhook, or was given up, the newest first."""

    async def note_received(self, tenant: TenantId, id: str, run: str, at: TimeMs) -> None:
        """The webhook of that id was given to a run. What is older than `RECEIVED_MS` is forgotten."""

    async def received(self, tenant: TenantId, id: str) -> str | None:
        """The run that the webhook of that id was given to."""
