"""Reading what comes by page: whole histories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

from cloche.history.ids import RunKey, Seq
from cloche.history.records import Record
from cloche.store.protocol import PAGE_RECORDS, Log
from cloche.tenancy.beside import beside

FIRST_PAGE_RECORDS = 64  # most runs have no more, and who wants the beginning alone does not read the whole


async def record_pages(
    log: Log,
    key: RunKey,
    after: Seq = Seq(0),  # noqa: B008
    first: int = FIRST_PAGE_RECORDS,
) -> AsyncIterator[list[Record]]:
    """All records of a run that follow `after`, page by page, the `first` of so many; raises as `Log.records`."""
    size = first
    while True:
        page = await log.records(key, after, size)
        if page:
            yield page
            after = page[-1].seq
        if len(page) < size:
            return
        size = PAGE_RECORDS


async def read_through(log: Log, key: RunKey, take: Callable[[list[Record]], None], *, is_heavy: bool = False) -> None:
    """Hand all records of a run to `take`, in order; of a long run, or where it `is_heavy`, beside the event loop.

    Raises as `Log.records`, and as `take`.
    """
    async for page in record_pages(log, key):
        if is_heavy or len(page) > FIRST_PAGE_RECORDS:
            await beside(key.tenant, partial(take, page))
        else:
            take(page)


async def all_records(log: Log, key: RunKey, after: Seq = Seq(0)) -> list[Record]:  # noqa: B008
    """All records of a run that follow `after`; raises as `Log.records`."""
    return [record async for page in record_pages(log, key, after) for record in page]


async def first_record(log: Log, key: RunKey, after: Seq = Seq(0)) -> Record | None:  # noqa: B008
    """The record that follows `after`; raises as `Log.records`."""
    page = await log.records(key, after, 1)
    return page[0] if page else None


async def row_pages(log: Log, key: RunKey, after: Seq = Seq(0)) -> AsyncIterator[list[tuple[bytes, bytes]]]:  # noqa: B008
    """As `record_pages`, of records as they are stored; raises as `Log.rows`."""
    size = FIRST_PAGE_RECORDS
    while True:
        page = await log.rows(key, after, size)
        if page:
            yield page
            after = Seq(after + len(page))
        if len(page) < size:
            return
        size = PAGE_RECORDS
