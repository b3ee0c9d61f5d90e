"""What lies in the store of each tenant, held against `stored_bytes`, `open_runs` and `blocked_runs` of its policy.

The store counts it, over all workers: it goes through all runs of the tenant, beside the event loop. So it is asked where a
bound is narrower than by default, and again after a second, or each time where half of what is allowed is there; but never for
more than a twentieth of the time. What this worker has added since is counted here.

What would be too much is refused at the door: a start, a child, a deploy, a file. A run that is open already waits, as it does
for a disk that is full, and goes on by itself when there is room. It may always end.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cloche.errors import LimitExceeded, StoreFull
from cloche.history.bounds import exceeded
from cloche.store import Stored
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche.history import TenantId
    from cloche.store import Checkpoints, Store

LOOK_S = 1.0
SHARE = 20  # of the time, one part is for looking
TENANTS_MAX = 10_000  # whose sums are remembered
SUMS = ("stored_bytes", "open_runs", "blocked_runs")
_BYTES, _WIDE = SUMS[:1], Policy()


@dataclass(slots=True)
class _Seen:
    """As of a look, the `number`-th of this worker, which ended at `at` and took `took_s`; and what was added here since."""

    stored: Stored
    number: int
    at: float
    took_s: float
    added_bytes: int = 0
    added_runs: int = 0


class TenantSums:
    """Of one worker. `policy_of` bounds all runs of a tenant together, as far as is known; `clock` gives monotonic seconds."""

    def __init__(
        self,
        store: Store,
        checkpoints: Checkpoints,
        policy_of: Callable[[TenantId], Policy],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._policy_of = policy_of
        self._clock = clock
        self._seen: OrderedDict[TenantId, _Seen] = OrderedDict()
        self._looks = 0
        self._locks: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()
        self._under_way: Counter[TenantId] = Counter()
        self._ended: dict[TenantId, asyncio.Event] = {}

    @asynccontextmanager
    async def one_more_run(self, tenant: TenantId) -> AsyncIterator[None]:
        """While a run of the tenant begins, or queues.

        Raises:
            LimitExceeded: there are as many as may be, or no room for what they write.
            StoreError: the store did not say.
        """
        if not self._is_bounded(tenant, SUMS):
            yield
            return
        while (beyond := await self._beyond(tenant, dict.fromkeys(SUMS, 1))) is not None:
            if not self._under_way[tenant]:
                raise beyond
            # One of those that begin now may be counted twice, or not begin.
            await self._ended.setdefault(tenant, asyncio.Event()).wait()
        self._under_way[tenant] += 1
        try:
            yield
            if tenant in self._seen:
                self._seen[tenant].added_runs += 1
        finally:
            self._under_way[tenant] -= 1
            if not self._under_way[tenant]:
                del self._under_way[tenant]
            if (ended := self._ended.pop(tenant, None)) is not None:
                ended.set()

    async def check_kept(self, tenant: TenantId, size: int) -> None:
        """Before so many bytes are kept, of code or of a file.

        Raises:
            LimitExceeded: there is no room for them.
            StoreError: the store did not say.
        """
        if self._is_bounded(tenant, _BYTES):
            if (beyond := await self._beyond(tenant, {"stored_bytes": size})) is not None:
                raise beyond
            self._add(tenant, size)

    def bounds_writing(self, tenant: TenantId) -> bool:
        """Whether what open runs write has a bound."""
        return self._is_bounded(tenant, _BYTES)

    async def check_room(self, tenant: TenantId) -> None:
        """Before an open run goes on.

        Raises:
            StoreFull: the tenant has no room for what it would write; try again.
            StoreError: the store did not say.
        """
        if (beyond := await self._beyond(tenant, {"stored_bytes": 1})) is not None:
            message = f"{beyond.message}: its runs wait, and go on by themselves when there is room"
            raise StoreFull(message, tenant=tenant, **beyond.facts)

    def written(self, tenant: TenantId, size: int) -> None:
        """So many bytes of records are written."""
        self._add(tenant, size)

    # ---- inside ----

    def _is_bounded(self, tenant: TenantId, names: Iterable[str]) -> bool:
        policy = self._policy_of(tenant)
        return any(getattr(policy, name) < getattr(_WIDE, name) for name in names)

    def _add(self, tenant: TenantId, size: int) -> None:
        if tenant in self._seen:
            self._seen[tenant].added_bytes += size

    async def _beyond(self, tenant: TenantId, more: Mapping[str, int]) -> LimitExceeded | None:
        """What would be too much with `more`; None: nothing."""
        policy, seen = self._policy_of(tenant), self._seen.get(tenant)
        if seen is None or self._is_old(seen, self._look_after_s(tenant, seen, policy, more)):
            seen = await self._look(tenant)
        for name, bound, asked in self._asked(tenant, seen, policy, more):
            if asked > bound:
                return exceeded(name, bound, asked, f"what tenant {tenant} has in the store")
        return None

    def _look_after_s(self, tenant: TenantId, seen: _Seen, policy: Policy, more: Mapping[str, int]) -> float:
        is_near = any(2 * asked > bound for _, bound, asked in self._asked(tenant, seen, policy, more))
        return 0.0 if is_near else LOOK_S

    def _asked(
        self, tenant: TenantId, seen: _Seen, policy: Policy, more: Mapping[str, int]
    ) -> list[tuple[str, int, int]]:
        """For each sum its bound, and what it would be."""
        sums = {
            "stored_bytes": seen.stored.size + seen.added_bytes,
            "open_runs": seen.stored.open_runs + seen.added_runs + self._under_way[tenant],
            "blocked_runs": seen.stored.blocked_runs,
        }
        return [(name, getattr(policy, name), sums[name] + count) for name, count in more.items()]

    def _is_old(self, seen: _Seen, after_s: float) -> bool:
        return self._clock() - seen.at >= max(after_s, SHARE * seen.took_s)

    async def _look(self, tenant: TenantId) -> _Seen:
        """One look for all who want one when it begins."""
        before = self._looks
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            seen = self._seen.get(tenant)
            if seen is None or seen.number <= before:
                seen = await self._looked(tenant, seen)
            return seen

    async def _looked(self, tenant: TenantId, before: _Seen | None) -> _Seen:
        self._looks += 1
        number, began = self._looks, self._clock()
        were = (before.added_bytes, before.added_runs) if before is not None else (0, 0)
        stored = await self._store.stored(tenant)
        stored = replace(stored, checkpoint_bytes=await self._checkpoints.size(tenant))
        now = self._clock()
        seen = self._seen[tenant] = _Seen(stored, number, now, now - began)
        if before is not None:  # what was added meanwhile may be in it or not
            seen.added_bytes, seen.added_runs = before.added_bytes - were[0], before.added_runs - were[1]
        self._seen.move_to_end(tenant)
        while len(self._seen) > TENANTS_MAX:
            self._seen.popitem(last=False)
        return seen
