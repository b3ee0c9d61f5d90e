"""Finding runs in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from cloche.history.ids import RunKey, TenantId
from cloche.history.marks import ERROR, RETRY_OF, STEP
from cloche.status import FINAL, RunStatus
from cloche.store.listings import LOOKED_AT_MAX, FailureGroup, RunFilter, RunPage
from cloche.store.memory.data import Facet
from cloche.store.runs import RunRow


class MemoryListings(Facet):
    """Implements `Listings`."""

    async def find(self, filter: RunFilter, *, limit: int, before: int | None = None) -> RunPage:
        rows: list[RunRow] = []
        looked, last = 0, before
        for row in reversed(self._data.rows.values()):
            number = self._data.numbers[row.key]
            if (before is not None and number >= before) or filter.tenant not in (None, row.key.tenant):
                continue
            if len(rows) == limit or looked == LOOKED_AT_MAX:
                return RunPage(rows, last)
            looked, last = looked + 1, number
            if self._passes(row, filter):
                rows.append(row)
        return RunPage(rows, None)

    async def failures(self, filter: RunFilter, *, limit: int, by_workflow: bool = False) -> list[FailureGroup]:
        found: dict[tuple[TenantId, str | None, str | None, str | None], list[RunRow]] = {}
        for row in self._failed(filter):
            marks = self._data.marks.get(row.key, {})
            place = (row.key.tenant, row.workflow if by_workflow else None, marks.get(ERROR), marks.get(STEP))
            found.setdefault(place, []).append(row)
        groups = []
        for place, rows in found.items():
            times = [row.updated_at for row in rows]
            groups.append(FailureGroup(*place, len(rows), min(times), max(times), rows[-1].key))
        return sorted(groups, key=_order)[:limit]

    async def count_open(self) -> Mapping[RunStatus, int]:
        return Counter(row.status for row in self._data.rows.values() if row.status not in FINAL)

    async def marks(self, key: RunKey) -> Mapping[str, str]:
        return dict(sorted(self._data.marks.get(key, {}).items()))

    async def retries(self, key: RunKey) -> list[RunKey]:
        return [one for one, marks in self._data.marks.items() if _is_retry(one, marks, key)]

    async def other_tenants(self, tenant: TenantId, most: int) -> list[TenantId]:
        return sorted({key.tenant for key in self._data.rows} - {tenant})[:most]

    def _failed(self, filter: RunFilter) -> Iterator[RunRow]:
        meant = RunFilter(
            filter.tenant,
            RunStatus.FAILED,
            filter.workflow,
            since=filter.since,
            until=filter.until,
            is_retried=False,
        )
        return (row for row in self._data.rows.values() if self._passes(row, meant))

    def _passes(self, row: RunRow, filter: RunFilter) -> bool:
        marks = self._data.marks.get(row.key, {})
        return (
            filter.tenant in (None, row.key.tenant)
            and (not filter.statuses or row.status in filter.statuses)
            and filter.workflow in (None, row.workflow)
            and filter.code in (None, row.code)
            and (filter.since is None or row.updated_at >= filter.since)
            and (filter.until is None or row.updated_at <= filter.until)
            and filter.marks.items() <= marks.items()
            and filter.is_retried in (None, self._is_retried(row.key))
        )

    def _is_retried(self, key: RunKey) -> bool:
        return any(_is_retry(one, marks, key) for one, marks in self._data.marks.items())


def _is_retry(key: RunKey, marks: Mapping[str, str], of: RunKey) -> bool:
    return key.tenant == of.tenant and marks.get(RETRY_OF) == of.run


def _order(group: FailureGroup) -> tuple[object, ...]:
    named = [(one is not None, one or "") for one in (group.workflow, group.error, group.step)]
    return (-group.count, group.tenant, *named)
