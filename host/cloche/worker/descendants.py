"""How many runs hang below one that somebody has started: children, theirs, and so on, in all workers of the store.

Their ids begin with that of the root (`history.ids.derived_key`), so the store counts them by index. It is asked again whenever
a sixteenth was added, and for each one when half of what is allowed is there.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cloche.history import RunId, RunKey
from cloche.history.bounds import exceeded
from cloche.history.ids import CONTINUATION, FIRED, RETRY, SCHEDULED
from cloche.text import ID_SEPARATOR

if TYPE_CHECKING:
    from cloche.store import Store

_OF_ITS_OWN = (
    f"{RETRY}{SCHEDULED}{FIRED}"  # a run that somebody has retried, or a schedule begun, is below no other run
)
_ROOT = re.compile(
    rf"[^{ID_SEPARATOR}]*({ID_SEPARATOR}[{_OF_ITS_OWN}][1-9][0-9]*)?({ID_SEPARATOR}{CONTINUATION}[1-9][0-9]*(?={ID_SEPARATOR}))?"
)
ROOTS_MAX = 10_000  # whose counts are remembered


class Descendants:
    """Of one worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: OrderedDict[RunKey, tuple[int, int]] = OrderedDict()  # of a root, and begun here since
        self._under_way: Counter[RunKey] = Counter()
        self._ended: dict[RunKey, asyncio.Event] = {}
        # Of a root one asks at a time: of a thousand that wait for the same answer each would count the same thousand runs.
        self._asking: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def one_more(self, key: RunKey, most: int) -> AsyncIterator[None]:
        """While the run `key` is begun, which another one starts.

        Raises:
            LimitExceeded: there are as many below its root as may be.
        """
        root = root_of(key)
        async with self._asking.setdefault(root, asyncio.Lock()):
            await self._has_room(root, most)
            there, begun = self._counted[root]
            self._counted[root] = there, begun + 1
            self._under_way[root] += 1
        try:
            yield
        finally:
            self._end(root)

    async def _has_room(self, root: RunKey, most: int) -> None:
        while not self._is_far_from(root, most):
            there = await self._store.descendants(root, most)
            begun = self._under_way[root]
            self._counted[root] = there, begun
            self._counted.move_to_end(root)
            if there + begun < most:
                return
            if not begun:
                raise exceeded("descendants", most, there + 1, f"what run {root} has started, and what that has")
            await self._ended.setdefault(root, asyncio.Event()).wait()

    def _is_far_from(self, root: RunKey, most: int) -> bool:
        there, begun = self._counted.get(root, (0, 1))
        return 2 * (there + begun) < most and begun <= there // 16

    def _end(self, root: RunKey) -> None:
        self._under_way[root] -= 1
        if not self._under_way[root]:
            del self._under_way[root]
            while len(self._counted) > ROOTS_MAX:
                self._counted.popitem(last=False)
        if (ended := self._ended.pop(root, None)) is not None:
            ended.set()


def root_of(key: RunKey) -> RunKey:
    """The run that somebody has started, and from which this one comes: that history of it which began what is above this one.

    Each history of a root has a count of its own: what the one before had begun has ended with it. A child that goes on as a
    new history stays below the same root, or it would have a thousand runs more each time.
    """
    found = _ROOT.match(key.run)
    return RunKey(key.tenant, RunId(found[0] if found is not None else key.run))
