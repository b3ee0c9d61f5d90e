"""Letting all open runs that a filter gives go on under today's code: counted first, page by page, audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloche.errors import UsageError
from cloche.history.ids import tenant_id
from cloche.operations import bulk
from cloche.operations.acts import Act, write_act
from cloche.operations.bulk import BulkAction, BulkReport, Pages
from cloche.operations.finding import before, filter_of, find
from cloche.operations.upgrade import upgrade_each
from cloche.run.clock import SystemWorld
from cloche.store import blob_digest

if TYPE_CHECKING:
    from cloche.engines import CellSource, Code
    from cloche.store import RunRow, Store


async def counted(store: Store, code: Code, tenant: str, query: Mapping[str, Any], text: str | None) -> BulkReport:
    """How many runs of the workflow have other code; nothing is done."""
    return await bulk.counted(BulkAction.UPGRADE, _pages(store, code, tenant, _asked(code, query), text))


async def moved(
    store: Store, engine: CellSource, code: Code, tenant: str, query: Mapping[str, Any], text: str | None, by: str
) -> BulkReport:
    """Move each that the code fits, as a worker that lives for so long; the others are listed.

    Raises:
        StoreError: the store did not answer. Those before are moved.
    """
    asked = _asked(code, query)
    where = {name: str(value) for name, value in sorted(asked.items()) if value is not None}
    await write_act(store, Act.BULK, by, SystemWorld().now(), tenant_id(tenant), done="upgrade", where=where)

    async def move(row: RunRow) -> None:
        async for _, problem in upgrade_each(store, engine, [row.key], code, by, goes_on=True):
            if problem is not None:
                raise UsageError(problem)

    async def announce(ids: Sequence[str]) -> None:
        await write_act(store, Act.BULK, by, SystemWorld().now(), tenant_id(tenant), done="upgrade", runs=list(ids))

    return await bulk.done(BulkAction.UPGRADE, _pages(store, code, tenant, asked, text), move, announce)


def _asked(code: Code, query: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {**query, "workflow": code.workflow}
    asked["until"] = before(SystemWorld().now(), asked.pop("age", None), asked.get("until"))
    return asked


def _pages(store: Store, code: Code, tenant: str, asked: Mapping[str, Any], text: str | None) -> Pages:
    today = blob_digest(code.pack())

    async def page(cursor: str | None) -> tuple[Sequence[RunRow], str | None]:
        found = await find(store, filter_of(tenant, **asked), text, bulk.PAGE, cursor)
        return [row for row in found if row.code != today], found.next

    return page
