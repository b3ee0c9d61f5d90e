"""Permits, in memory: the tables, and what a commit does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from cloche.history.ids import CallId, RunKey, TimeMs
from cloche.history.permitted import WHOLE_RUN
from cloche.store import permits as of
from cloche.store.memory.requests import InboxData
from cloche.store.permits import LimitQueue, PermitAsk, PermitRow, answered, asking, freeing, granted_post
from cloche.store.protocol import Append


@dataclass(eq=False, slots=True)
class PermitData:
    """What the tables of the same names are to SQLite."""

    inbox: InboxData
    permits: dict[int, PermitRow] = field(default_factory=dict)  # by id, the oldest first
    held: dict[str, set[int]] = field(default_factory=dict)
    uses: dict[str, list[tuple[TimeMs, TimeMs]]] = field(default_factory=dict)  # at and until, the oldest first
    queues: dict[str, LimitQueue] = field(default_factory=dict)
    last_id: int = 0

    def follow(self, append: Append) -> None:
        """Within a commit: the permits that it gives back, and those that it asks for."""
        for row in self._of(append.key, append.detached):
            self.permits[row.id] = replace(row, holder=append.lease.worker if append.lease is not None else None)
        if append.handed_to is not None:
            for row in self._of(append.key, [WHOLE_RUN]):
                self.permits[row.id] = replace(row, key=append.handed_to)
        asks = [ask for ask in append.asks if not self._keeps(append.key, ask, append.at)]
        self.free(append.key, [*append.freed, *(ask.call for ask in asks)], append.at)
        asked = []
        for ask in asks:
            self.last_id += 1
            row = PermitRow(self.last_id, append.key, ask.call, ask.step, ask.path, tuple(ask.limits), append.at)
            self.permits[row.id] = row
            asked.append(row)
        self.decide(asking(asked, append.at))

    def _keeps(self, key: RunKey, ask: PermitAsk, at: TimeMs) -> bool:
        """Whether it has what it asks for; then it is told so."""
        row = of.kept(self._of(key, [ask.call]), ask)
        if row is not None:
            self.inbox.post(granted_post(row), at)
        return row is not None

    def free(self, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
        names: list[str] = []
        for row in self._of(key, calls):
            del self.permits[row.id]
            names += [] if row.waits_for is None else [row.waits_for]
            for limit in row.limits:
                if row.id in self.held.get(limit.name, ()):
                    self.held[limit.name].discard(row.id)
                    names.append(limit.name)
        self.decide(freeing(names, at))

    def free_all_of_run(self, key: RunKey) -> None:
        """The run goes on nowhere. It keeps a place that it has as a run."""
        found = [row for row in self.permits.values() if row.key == key and row.holder is None]
        self.free(key, [row.call for row in found if row.call != WHOLE_RUN], TimeMs(0))

    def decide(self, deciding: of.Deciding) -> None:
        answered(deciding, self._answer)

    def _of(self, key: RunKey, calls: Sequence[CallId]) -> list[PermitRow]:
        return [row for row in self.permits.values() if row.key == key and row.call in calls] if calls else []

    def _answer(self, asked: of.Look | of.Change) -> Any:
        match asked:
            case of.Waiters(name):
                return self._waiters(name)
            case of.Queue(name):
                return self.queues.get(name)
            case of.Held(name):
                return len(self.held.get(name, ()))
            case of.Used(name, most, at):
                uses = self.uses.get(name, [])
                count = sum(until > at for _, until in uses)
                return count, uses[-most][1] if count >= most else 0, uses[-1][0] if uses else 0
            case of.Grant():
                self._grant(asked)
            case of.Wait(row, name):
                self.permits[row.id] = replace(row, waits_for=name)
            case of.PutQueue(queue):
                self.queues[queue.name] = queue
            case of.DropQueue(name):
                self.queues.pop(name, None)
            case _:
                assert_never(asked)
        return None

    def _waiters(self, name: str) -> list[PermitRow]:
        counts: dict[str, int] = {}
        found = []
        for row in self.permits.values():
            if row.waits_for == name and counts.get(row.key.tenant, 0) < of.WAITERS_READ:
                counts[row.key.tenant] = counts.get(row.key.tenant, 0) + 1
                found.append(row)
        return found

    def _grant(self, grant: of.Grant) -> None:
        row, at = grant.row, max(grant.at, grant.row.asked_at)
        self.permits[row.id] = replace(row, granted_at=at, waits_for=None, is_posted=grant.post is not None)
        for limit in row.limits:
            if limit.per_ms:
                self.uses.setdefault(limit.name, []).append((at, TimeMs(at + limit.per_ms)))
            else:
                self.held.setdefault(limit.name, set()).add(row.id)
        if grant.post is not None:
            self.inbox.post(grant.post, at)
