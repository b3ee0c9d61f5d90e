"""Requests of other processes, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.status import FINAL, RunStatus
from cloche.store.inbox import GRANTED, START, Granted, InboxBounds, InboxMark, InboxRow, NewRequests, WaitingEvent
from cloche.store.memory.data import Facet
from cloche.store.refusals import check_room, no_event_any_more


class MemoryInbox(Facet):
    """Implements `Inbox`."""

    async def post(
        self,
        key: RunKey,
        kind: str,
        body: bytes,
        token: str,
        at: TimeMs,
        *,
        kept: bool = False,
        name: str | None = None,
        bounds: InboxBounds | None = None,
    ) -> None:
        data = self._data.inbox
        if token in data.rows or data.answers.get(token) == GRANTED:
            return
        if name is not None:
            self._check_event(key, len(body), bounds)
        data.answers.pop(token, None)
        data.posted += 1
        self._connection.count_write()
        posted_at = max(at, data.events.last_posted(key))
        row = InboxRow(data.posted, key, kind, body, name, posted_at, token, kept)
        data.add(row, token)
        if kept:
            data.kept[token] = key

    def _check_event(self, key: RunKey, size: int, bounds: InboxBounds | None) -> None:
        row, events = self._data.rows.get(key), self._data.inbox.events
        if row is not None and row.status in FINAL:
            raise no_event_any_more(key, row.status)
        if bounds is not None:
            check_room(key, bounds, events.totals(key), events.totals(key.tenant), size)

    async def new_requests(self, worker: str, after: InboxMark | None) -> NewRequests:
        data = self._data
        begin = after.row if after is not None and after.departures == data.departures else 0
        new: list[InboxRow] = []
        for row in reversed(data.inbox.rows.values()):
            if row.id <= begin:
                break
            new.append(row)
        new.reverse()
        requests = [row for row in new if row.name is None and self._may_accept(row, worker)]
        events = {
            (row.key, row.name): None for row in new if row.name is not None and self._is_wanted(row, row.name, worker)
        }
        return NewRequests(requests, list(events), InboxMark(data.departures, data.inbox.posted))

    async def requests(self, key: RunKey | None = None, *, events: bool = True) -> list[InboxRow]:
        rows = self._data.inbox.rows.values()
        return [row for row in rows if key in (None, row.key) and (events or row.name is None)]

    async def waiting_starts(self, tenant: TenantId | None, limit: int) -> list[InboxRow]:
        rows = reversed(self._data.inbox.rows.values())
        found = (row for row in rows if row.kind == START and tenant in (None, row.key.tenant))
        return list(islice(found, limit))

    async def first_events(self, key: RunKey, names: Sequence[str]) -> list[WaitingEvent]:
        found = [row for name in names if (row := self._data.inbox.events.first(key, name)) is not None]
        found.sort(key=lambda row: row.id)
        return [WaitingEvent(row.id, row.name or "", row.posted_at) for row in found]

    async def has_events(self, key: RunKey) -> bool:
        return self._data.inbox.events.totals(key)[0] > 0

    async def body(self, inbox_id: int) -> bytes | None:
        token = self._data.inbox.tokens.get(inbox_id)
        return self._data.inbox.rows[token].body if token is not None else None

    async def request(self, token: str) -> InboxRow | None:
        return self._data.inbox.rows.get(token)

    async def take(self, inbox_id: int, worker: str) -> bool:
        if not await self.is_waiting(inbox_id) or self._is_taken(inbox_id, worker) or worker not in self._data.workers:
            return False
        self._data.inbox.takers[inbox_id] = worker
        return True

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        if not await self.is_waiting(inbox_id) or self._is_taken(inbox_id):
            return False
        await self.resolve(inbox_id, answer)
        return True

    async def answer(self, token: str) -> str | None:
        return self._data.inbox.answers.get(token)

    async def forget(self, token: str) -> None:
        self._data.inbox.answers.pop(token, None)
        self._data.inbox.granted.pop(token, None)

    async def granted(self, key: RunKey) -> list[Granted]:
        data = self._data.inbox
        tokens = sorted(token for token, of in data.kept.items() if of == key and data.answers.get(token) == GRANTED)
        return [Granted(*data.granted[token]) for token in tokens]

    async def remember(self, key: RunKey, granted: Sequence[Granted]) -> None:
        data = self._data.inbox
        self._connection.count_write()
        for one in granted:
            if one.token not in data.rows and one.token not in data.answers:
                data.kept[one.token] = key
                data.answers[one.token], data.granted[one.token] = GRANTED, (one.kind, one.token, one.posted_at)

    async def awaited(self, key: RunKey) -> list[str]:
        return sorted(self._data.inbox.awaited.get(key, ()))

    async def waiting_for(self, tenant: TenantId, name: str) -> list[RunKey]:
        found = [key for key, names in self._data.inbox.awaited.items() if key.tenant == tenant and name in names]
        return sorted(found, key=lambda key: key.run)

    async def is_waiting(self, inbox_id: int) -> bool:
        return inbox_id in self._data.inbox.tokens

    async def resolve(self, inbox_id: int, answer: str, *, noted: str | None = None) -> None:
        self._connection.count_write()
        if noted is not None and (token := self._data.inbox.tokens.get(inbox_id)) is not None:
            self._data.inbox.answers[noted] = answer
            self._data.inbox.kept[noted] = self._data.inbox.rows[token].key
        self._data.inbox.resolve(inbox_id, answer)

    def _may_accept(self, item: InboxRow, worker: str) -> bool:
        if item.kind == START:
            return not self._is_taken(item.id, worker)
        row = self._data.rows.get(item.key)
        return row is None or row.owner in (None, worker)

    def _is_wanted(self, item: InboxRow, name: str, worker: str) -> bool:
        row = self._data.rows.get(item.key)
        if row is None or row.owner not in (None, worker) or row.status == RunStatus.BLOCKED:
            return False
        return name in self._data.inbox.awaited.get(item.key, ())

    def _is_taken(self, inbox_id: int, worker: str | None = None) -> bool:
        """Whether a worker that lives has taken the request, another one than `worker`."""
        taker = self._data.inbox.takers.get(inbox_id)
        return taker is not None and taker != worker and taker in self._data.workers
