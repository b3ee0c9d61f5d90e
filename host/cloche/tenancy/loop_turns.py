"""The event loop's thread, which all tenants share: what is done on it for a tenant is counted, and begins in its turn.

A call of a client, the beginning of a run, a light turn: each asks for its turn before it begins (`LoopTurns.turn`), and while
it goes on each of its stretches between two waits is charged to its tenant (`LoopTurns.counted`). A tenant that has had more of
the loop than another one that is at work gives way: its next piece begins in a pass of the loop in which that one had nothing
to do. It waits, and is never refused. Who waits holds no lock and no thread: a turn is asked for where nothing is begun yet.

Where one tenant alone is at work nobody waits. In a simulation no time passes, and tenants take turns one by one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Any, TypeVar

from cloche.history import TenantId
from cloche.tenancy.fairness import Turns

T = TypeVar("T")

TURNS_A_PASS = 16  # a commit for each would cost more than the turns; all that wait would hold up who comes now
PASS_NS = 5_000_000  # after so much of a pass what was to begin in it waits for the next: 16 starts may take 10 ms each
AHEAD_NS = 4_000_000  # a tenant may be so far ahead of the others and still begin with them
DEBT_NS = 1_000_000_000  # no more than this is ever held against a tenant
AT_WORK_NS = 100_000_000  # a tenant that had nothing to do for so long does not count
SHARED_NS = 1_000_000_000  # after another tenant was at work the loop is taken as shared for so long
TENANTS_MAX = 10_000  # whose use is remembered
_QUANTUM_NS = 1_000_000


class LoopTime:
    """How much of the loop each tenant has had. One that comes back stands where the one stands that has had least meanwhile,
    so nobody saves up; and nobody is more than `DEBT_NS` behind that one, for what it had when nobody else wanted it.
    """

    def __init__(self) -> None:
        self.level = 0  # what the tenant has had, in ns, that has had least of those at work
        self._used: OrderedDict[TenantId, int] = OrderedDict()  # the one that was at work last is the last
        self._seen: dict[TenantId, int] = {}
        # The least of two spans of time, the one that goes on and the one before it.
        self._least: tuple[int | None, int | None] = (None, None)
        self._span_ends = 0
        self._last: TenantId | None = None
        self._others_until = 0

    def charge(self, tenant: TenantId, ns: int, now: int) -> int:
        """What it has had in all, with these `ns` until `now`."""
        if tenant == self._last and self._others_until <= now < self._span_ends:  # nobody else is there, as a rule
            had = self._used[tenant] = self._used[tenant] + ns
            self._seen[tenant] = now
            return had
        used = self._used.get(tenant)
        if used is None or now - self._seen[tenant] > AT_WORK_NS:
            used = max(used or 0, self.level)
        used = self._used[tenant] = min(used + ns, self.level + DEBT_NS)
        self._seen[tenant] = now
        if tenant != self._last:
            self._is_at_work(tenant, now)
        self._learn(used, now)
        return used

    def _is_at_work(self, tenant: TenantId, now: int) -> None:
        if self._last is not None:
            self._others_until = now + SHARED_NS
        self._last = tenant
        self._used.move_to_end(tenant)
        while len(self._used) > TENANTS_MAX:
            del self._seen[self._used.popitem(last=False)[0]]

    def _learn(self, used: int, now: int) -> None:
        if now >= self._span_ends:
            self._least = (None, self._least[0] if now - self._span_ends < AT_WORK_NS else None)
            self._span_ends = now + AT_WORK_NS // 2
        least, before = self._least
        least = used if least is None else min(least, used)
        self._least = (least, before)
        self.level = least if before is None else min(least, before)

    def is_shared(self, now: int) -> bool:
        """Whether more than one tenant was at work of late."""
        return now < self._others_until

    def is_ahead(self, tenant: TenantId) -> bool:
        return self._used.get(tenant, 0) > self.level + AHEAD_NS

    # ---- as `Turns` asks ----

    def stands(self, tenant: TenantId) -> int:
        return self._used.get(tenant, self.level) // _QUANTUM_NS

    def begins(self, tenant: TenantId) -> None:
        """What it has had is known since it asked."""

    def given(self, tenant: TenantId) -> None:
        """It is charged for what it does."""


class LoopTurns:
    """`tenants`: those that have runs under way, kept up by its owner. `clock` gives monotonic nanoseconds."""

    def __init__(
        self,
        tenants: Collection[TenantId] = (),
        *,
        is_real_time: bool = True,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self.time = LoopTime()
        # Nanoseconds that each tenant has had, and that no run of it was billed for yet.
        self.unbilled: defaultdict[TenantId, int] = defaultdict(int)
        self._clock = clock
        self._tenants = tenants
        self._is_real_time = is_real_time
        self._turns = Turns(self.time)
        self._given = 0  # in this pass of the loop
        self._begun, self._spent = 0, 0  # in this pass: what was let begin, and the nanoseconds that all has taken
        self._late: list[tuple[TenantId, asyncio.Future[None]]] = []  # were given a place, and the pass was full
        self._is_planned = False
        self._least_in_pass: int | None = None  # where the one stood that was at work in this pass, and has had least

    # ---- what is done ----

    def counted(self, tenant: TenantId, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """The same, and its time on the loop is charged to the tenant."""
        return _Counted(work, partial(self._charge_until, tenant)) if self._is_real_time else work

    def counted_for(self, tenants: Sequence[TenantId], work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """As `counted`, of what is done for all of these together: one that is named twice is charged two parts of it."""
        if len(tenants) == 1:
            return self.counted(tenants[0], work)
        return _Counted(work, partial(self._charge_parts, Counter(tenants))) if self._is_real_time else work

    async def in_turn(self, tenant: TenantId, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`, which begins in the tenant's turn, and is charged to it."""
        try:
            await self.turn(tenant)
        except BaseException:
            work.close()
            raise
        return await self.counted(tenant, work)

    def charge(self, tenant: TenantId, ns: int) -> None:
        if self._is_real_time:
            self._charge_until(tenant, ns, self._clock())

    def _charge_until(self, tenant: TenantId, ns: int, now: int) -> None:
        used = self.time.charge(tenant, ns, now)
        self.unbilled[tenant] += ns
        self._spent += ns
        if self._least_in_pass is None or used < self._least_in_pass:
            self._least_in_pass = used

    def _charge_parts(self, parts: Counter[TenantId], ns: int, now: int) -> None:
        for tenant, count in parts.items():
            self._charge_until(tenant, ns * count // parts.total(), now)

    # ---- who begins ----

    async def turn(self, tenant: TenantId) -> None:
        """Returns when something may begin for this tenant."""
        if not self._is_real_time:
            if len(self._tenants) > 1:
                await self._wait(tenant)
            return
        now = self._clock()
        self.time.charge(tenant, 0, now)
        if len(self._tenants) < 2 and not self.time.is_shared(now):
            return
        first = self._turns.first()
        goes_before = first is None or self.time.stands(tenant) < first
        if goes_before and self._given < TURNS_A_PASS and self._has_room() and not self.time.is_ahead(tenant):
            self._given += 1
            self._begun += 1
            self._plan()
        else:
            await self._wait(tenant)

    async def _wait(self, tenant: TenantId) -> None:
        place = self._turns.wait(tenant)
        self._plan()
        await place
        while self._is_real_time and not self._has_room():
            place = asyncio.get_running_loop().create_future()
            self._late.append((tenant, place))
            self._plan()
            await place
        self._begun += 1

    def _has_room(self) -> bool:
        """Whether more may begin in this pass: always one."""
        return not self._begun or self._spent < PASS_NS

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Once in a pass of the loop: a few of those that are not ahead, so that they share a commit; else one that is, if none
        that has had less was at work just now."""
        self._is_planned, self._given, self._begun, self._spent = False, 0, 0, 0
        for tenant, place in reversed(self._late):
            self._turns.first_again(tenant, place)
        self._late.clear()
        least, self._least_in_pass = self._least_in_pass, None
        while self._given < TURNS_A_PASS and (first := self._turns.first()) is not None:
            stood = first * _QUANTUM_NS
            if stood > self.time.level + AHEAD_NS and (self._given or (least is not None and stood > least + AHEAD_NS)):
                break
            if self._turns.give() is None:
                break
            self._given += 1
        if self._given or self._turns.first() is not None:
            self._plan()


class _Counted(Coroutine[Any, Any, T]):
    """Hands everything through, and takes the time of each stretch: from where it goes on to where it waits again."""

    __slots__ = ("_charge", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], charge: Callable[[int, int], None]) -> None:
        self._work = work
        self._charge = charge

    def send(self, value: Any) -> Any:
        began = perf_counter_ns()
        try:
            return self._work.send(value)
        finally:
            now = perf_counter_ns()
            self._charge(now - began, now)

    def throw(self, *error: Any) -> Any:
        began = perf_counter_ns()
        try:
            return self._work.throw(*error)
        finally:
            now = perf_counter_ns()
            self._charge(now - began, now)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self  # it has all that `await` asks of one

    def __iter__(self) -> _Counted[T]:
        return self

    def __next__(self) -> Any:
        began = perf_counter_ns()  # as `send`, without one more call at each wait
        try:
            return self._work.send(None)
        finally:
            now = perf_counter_ns()
            self._charge(now - began, now)
