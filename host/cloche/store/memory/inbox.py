"""Requests of other processes, in memory."""

from __future__ import annotations

from cloche.history.ids import RunKey, TimeMs
from cloche.store.memory.data import Facet
from cloche.store.protocol import GRANTED, InboxRow


class MemoryInbox(Facet):
    """Implements `Inbox`."""

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        data = self._data
        if token in data.inbox or data.answers.get(token) == GRANTED:
            return
        data.answers.pop(token, None)
        data.posted += 1
        self._connection.count_write()
        data.inbox[token] = InboxRow(data.posted, key, kind, body)
        if kept:
            data.kept.add(token)

    def requests(self, worker: str | None = None) -> list[InboxRow]:
        items = list(self._data.inbox.values())
        if worker is None:
            return items
        return [item for item in items if (row := self._data.rows.get(item.key)) and row.owner in (None, worker)]

    def answer(self, token: str) -> str | None:
        return self._data.answers.get(token)

    def forget(self, token: str) -> None:
        self._data.answers.pop(token, None)

    def is_waiting(self, inbox_id: int) -> bool:
        return any(item.id == inbox_id for item in self._data.inbox.values())

    def resolve(self, inbox_id: int, answer: str) -> None:
        self._connection.count_write()
        self._data.resolve(inbox_id, answer)
