"""The requests that wait in a store in memory: events by run and name, and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.store.inbox import ENDED, GRANTED, InboxRow, Post


class WaitingEvents:
    """What the indexes and the table of totals are to SQLite. Other requests may be given to `remove` too."""

    def __init__(self) -> None:
        self._rows: dict[int, InboxRow] = {}
        self._named: dict[RunKey, dict[str, deque[int]]] = {}  # the numbers, oldest first; some may have gone
        self._totals: dict[RunKey | TenantId, tuple[int, int]] = {}
        self._last: dict[RunKey, TimeMs] = {}

    def add(self, row: InboxRow) -> None:
        assert row.name is not None
        self._rows[row.id] = row
        self._named.setdefault(row.key, {}).setdefault(row.name, deque()).append(row.id)
        self._last[row.key] = row.posted_at
        self._count(row, 1)

    def remove(self, row: InboxRow) -> None:
        if self._rows.pop(row.id, None) is None:
            return
        self._count(row, -1)
        if row.key not in self._totals:
            del self._named[row.key], self._last[row.key]

    def first(self, key: RunKey, name: str) -> InboxRow | None:
        """The oldest one of this name."""
        numbers = self._named.get(key, {}).get(name)
        while numbers and numbers[0] not in self._rows:
            numbers.popleft()
        return self._rows[numbers[0]] if numbers else None

    def of_run(self, key: RunKey) -> list[int]:
        """The numbers of all that wait for a run."""
        named: Iterable[deque[int]] = self._named.get(key, {}).values()
        return sorted(number for numbers in named for number in numbers if number in self._rows)

    def totals(self, of: RunKey | TenantId) -> tuple[int, int]:
        """How many wait for a run or the runs of a tenant, and how many bytes they have."""
        return self._totals.get(of, (0, 0))

    def last_posted(self, key: RunKey) -> TimeMs:
        """When the last of those that wait for a run was posted; 0 if none does."""
        return self._last.get(key, TimeMs(0))

    def _count(self, row: InboxRow, sign: int) -> None:
        for of in (row.key, row.key.tenant):
            events, size = self._totals.get(of, (0, 0))
            self._totals[of] = (events + sign, size + sign * len(row.body))
            if self._totals[of][0] == 0:
                del self._totals[of]


@dataclass(eq=False, slots=True)
class InboxData:
    """All requests of one store, and the answers to those that are kept."""

    rows: dict[str, InboxRow] = field(default_factory=dict)  # by token, in the order in which they were posted
    tokens: dict[int, str] = field(default_factory=dict)  # of those that wait, by their number
    events: WaitingEvents = field(default_factory=WaitingEvents)
    awaited: dict[RunKey, set[str]] = field(default_factory=dict)  # the names of events that runs wait for
    kept: dict[str, RunKey] = field(default_factory=dict)  # tokens whose answers stay, and of which run they are
    takers: dict[int, str] = field(default_factory=dict)  # of requests to start a run
    answers: dict[str, str] = field(default_factory=dict)
    # Kind, token and time of posting of those that were accepted.
    granted: dict[str, tuple[str, str, TimeMs]] = field(default_factory=dict)
    posted: int = 0  # the number of the last request: no number is used again

    def add(self, row: InboxRow, token: str) -> None:
        self.rows[token], self.tokens[row.id] = row, token
        if row.name is not None:
            self.events.add(row)

    def post(self, post: Post, at: TimeMs, *, kept: bool = False) -> None:
        """What an append leaves for another run, or a schedule."""
        if post.token in self.rows or post.token in self.answers:
            return
        self.posted += 1
        self.add(InboxRow(self.posted, post.key, post.kind, post.body, None, at, post.token, kept), post.token)
        if kept:
            self.kept[post.token] = post.key

    def resolve(self, inbox_id: int, answer: str) -> None:
        """Take a request out of the inbox; its answer stays if its token is a kept one."""
        self.takers.pop(inbox_id, None)
        if (token := self.tokens.pop(inbox_id, None)) is not None:
            row = self.rows.pop(token)
            self.events.remove(row)
            if token in self.kept:
                self.answers[token] = answer
                if answer == GRANTED:
                    self.granted[token] = (row.kind, token, row.posted_at)

    def follow_hooks(self, key: RunKey, awaited: Iterable[str], unawaited: Iterable[str]) -> None:
        if awaited or unawaited:
            names = self.awaited.setdefault(key, set())
            names.difference_update(unawaited)
            names.update(awaited)

    def end_events(self, key: RunKey) -> None:
        """The run has ended: nobody will wait for an event of it."""
        self.awaited.pop(key, None)
        for inbox_id in self.events.of_run(key):
            self.resolve(inbox_id, ENDED)

    def delete(self, gone: set[RunKey]) -> None:
        """Forget all of these runs, the answers too."""
        for row in [row for row in self.rows.values() if row.key in gone]:
            self.resolve(row.id, ENDED)
        for token in [token for token, key in self.kept.items() if key in gone]:
            del self.kept[token]
            self.answers.pop(token, None)
            self.granted.pop(token, None)
