"""`RemoteMany`: the same done to many runs, by a server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloche.client.remote.forms import report_of
from cloche.client.remote.transport import values
from cloche.history.values import plain
from cloche.operations.bulk import PAGE, BulkReport, action_of
from cloche.operations.forms import instant

if TYPE_CHECKING:
    import httpx

    from cloche.client.sought import RunQuery

_PAGE_MAX = 1000  # that one request does


class RemoteMany:
    """`RemoteRuns` has all else."""

    async def ask(self, method: str, place: str, body: Any = None, **options: Any) -> httpx.Response:
        raise AssertionError("the classes on top ask")

    async def bulk(
        self,
        action: str,
        *,
        dry_run: bool = False,
        text: str | None = None,
        data: Any = None,
        event: str | None = None,
        step: str | None = None,
        even_at_most_once: bool = False,
        onto: Any = None,
        by: str = "",
        bulk_id: str | None = None,
        after: str | None = None,
        most: int | None = None,
        where: RunQuery | None = None,
    ) -> BulkReport:
        """As `Client.bulk`. Who does it is whose token it is; `onto` names a workflow that the server has."""
        action_of(action, event)
        body = {"action": action, "where": _where(where), "text": text, "data": plain(data, "data"), "event": event}
        body |= {"step": step, "even_at_most_once": even_at_most_once, "bulk_id": bulk_id, "after": after}
        body |= {"onto": getattr(onto, "id", onto), "dry_run": dry_run, "most": min(most or PAGE, _PAGE_MAX)}
        report = report_of(values(await self.ask("POST", "/bulk", body)))
        looked = body["most"]
        while report.next is not None and (most is None or looked < most):
            again = {**body, "after": report.next, "bulk_id": report.bulk_id}
            report.add(report_of(values(await self.ask("POST", "/bulk", again))))
            looked += body["most"]
        return report


def _where(query: RunQuery | None) -> dict[str, Any]:
    """As the server takes it."""
    found: dict[str, Any] = dict(query or {})
    found.pop("is_retried", None)  # `retry` passes over what was retried by itself
    for name in ("since", "until"):
        time = found.get(name)
        if isinstance(time, datetime):
            time = int(time.timestamp() * 1000)
        found[name] = instant(time) if time is not None else None
    age = found.get("age")
    found["age"] = age.total_seconds() if isinstance(age, timedelta) else age
    return found
