"""The law of limits, whoever asks and frees in whatever order: never more than n at once, never more than n in a window."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cloche.history import CallId, Path, RunId, RunKey, TenantId, TimeMs
from cloche.store.memory.permit_data import PermitData
from cloche.store.memory.requests import InboxData
from cloche.store.permits import Limit, PermitRow, asking, freeing

LIMITS = {"gpu": Limit("gpu", 2), "one": Limit("one", 1), "mail": Limit("mail", 2, 100), "slow": Limit("slow", 1, 250)}


@dataclass(frozen=True)
class Ask:
    tenant: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Free:
    which: int  # of those that are there


@dataclass(frozen=True)
class Pass:
    ms: int


ACTS = st.lists(
    st.builds(
        Ask, st.sampled_from("abc"), st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, unique=True).map(tuple)
    )
    | st.builds(Free, st.integers(0, 20))
    | st.builds(Pass, st.integers(0, 120)),
    max_size=30,
)


@dataclass
class Table:
    """Calls that ask, by what a store in memory does for a commit."""

    data: PermitData = field(default_factory=lambda: PermitData(InboxData()))
    now: int = 1_000
    begun: dict[str, list[int]] = field(default_factory=dict)  # by limit: when
    known: set[int] = field(default_factory=set)

    def do(self, act: Ask | Free | Pass) -> None:
        rows = list(self.data.permits.values())
        match act:
            case Ask(tenant, names):
                self.data.last_id += 1
                id = self.data.last_id
                key = RunKey(TenantId(tenant), RunId(f"r{id}"))
                limits = tuple(LIMITS[name] for name in names)
                self.data.permits[id] = PermitRow(id, key, CallId(1), "s", Path("s"), limits, TimeMs(self.now))
                self.data.decide(asking([self.data.permits[id]], TimeMs(self.now)))
            case Free(which) if rows:
                row = rows[which % len(rows)]
                self.data.free(row.key, [row.call], TimeMs(self.now))
            case Pass(ms):
                self.now += ms
                due = [
                    queue.name for queue in self.data.queues.values() if queue.due is not None and queue.due <= self.now
                ]
                self.data.decide(freeing(due, TimeMs(self.now)))
        self.look()

    def look(self) -> None:
        for row in self.data.permits.values():
            if row.granted_at is not None and row.id not in self.known:
                self.known.add(row.id)
                for limit in row.limits:
                    self.begun.setdefault(limit.name, []).append(row.granted_at)

    def free(self) -> bool:
        """Whether somebody waits although all that it asks for is free."""
        for row in self.data.permits.values():
            if row.granted_at is None and all(self.has_room(limit) for limit in row.limits):
                return True
        return False

    def has_room(self, limit: Limit) -> bool:
        if limit.per_ms:
            recent = [at for at in self.begun.get(limit.name, []) if at > self.now - limit.per_ms]
            return len(recent) < limit.most
        return self.held(limit.name) < limit.most

    def held(self, name: str) -> int:
        rows = (row for row in self.data.permits.values() if row.granted_at is not None)
        return sum(any(limit.name == name for limit in row.limits) for row in rows)


@given(ACTS)
def test_no_limit_gives_more_than_it_has(acts: list[Ask | Free | Pass]) -> None:
    table = Table()
    for act in acts:
        table.do(act)
        for name, limit in LIMITS.items():
            if not limit.per_ms:
                assert table.held(name) <= limit.most
            times = sorted(table.begun.get(name, []))
            window = zip(times, times[limit.most :], strict=False)
            assert not limit.per_ms or all(later - sooner >= limit.per_ms for sooner, later in window)


@given(ACTS)
def test_nobody_waits_when_all_that_it_asks_for_is_free(acts: list[Ask | Free | Pass]) -> None:
    table = Table()
    for act in acts:
        table.do(act)
    table.do(Pass(0))
    assert not table.free()


@given(ACTS)
def test_everybody_has_its_turn_in_the_end_and_nothing_is_left(acts: list[Ask | Free | Pass]) -> None:
    table = Table()
    for act in acts:
        table.do(act)
    for _ in range(200):
        having = [row for row in table.data.permits.values() if row.granted_at is not None]
        for row in having:
            table.data.free(row.key, [row.call], TimeMs(table.now))
            table.look()
        table.do(Pass(250))
    assert table.data.permits == {}
    assert not any(table.data.held.values())
    assert table.data.queues == {}
