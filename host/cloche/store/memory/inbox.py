"""Requests of other processes, in memory."""

from __future__ import annotations

from cloche.history.ids import RunKey, TimeMs
from cloche.store.memory.data import Facet
from cloche.store.protocol import GRANTED, START, InboxRow


class MemoryInbox(Facet):
    """Implements `Inbox`."""

    async def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        data = self._data
        if token in data.inbox or data.answers.get(token) == GRANTED:
            return
        data.answers.pop(token, None)
        data.posted += 1
        self._connection.count_write()
        data.inbox[token] = InboxRow(data.posted, key, kind, body)
        if kept:
            data.kept[token] = key

    async def requests(self, worker: str | None = None) -> list[InboxRow]:
        items = list(self._data.inbox.values())
        if worker is None:
            return items
        return [item for item in items if self._may_accept(item, worker)]

    async def request(self, token: str) -> InboxRow | None:
        return self._data.inbox.get(token)

    async def take(self, inbox_id: int, worker: str) -> bool:
        if not await self.is_waiting(inbox_id) or self._is_taken(inbox_id, worker) or worker not in self._data.workers:
            return False
        self._data.takers[inbox_id] = worker
        return True

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        if not await self.is_waiting(inbox_id) or self._is_taken(inbox_id):
            return False
        await self.resolve(inbox_id, answer)
        return True

    async def answer(self, token: str) -> str | None:
        return self._data.answers.get(token)

    async def forget(self, token: str) -> None:
        self._data.answers.pop(token, None)

    async def is_waiting(self, inbox_id: int) -> bool:
        return any(item.id == inbox_id for item in self._data.inbox.values())

    async def resolve(self, inbox_id: int, answer: str) -> None:
        self._connection.count_write()
        self._data.resolve(inbox_id, answer)

    def _may_accept(self, item: InboxRow, worker: str) -> bool:
        if item.kind == START:
            return not self._is_taken(item.id, worker)
        row = self._data.rows.get(item.key)
        return row is not None and row.owner in (None, worker)

    def _is_taken(self, inbox_id: int, worker: str | None = None) -> bool:
        """Whether a worker that lives has taken the request, another one than `worker`."""
        taker = self._data.takers.get(inbox_id)
        return taker is not None and taker != worker and taker in self._data.workers
