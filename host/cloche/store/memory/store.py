"""All facets of a store, on one connection to data in memory."""

from __future__ import annotations

from copy import copy
from typing import Self

from cloche.store.checkpoints import MemoryCheckpoints
from cloche.store.memory.data import Connection, MemoryData
from cloche.store.memory.deployments import MemoryBlobs, MemoryDeployments
from cloche.store.memory.inbox import MemoryInbox
from cloche.store.memory.leases import MemoryLeases
from cloche.store.memory.listings import MemoryListings
from cloche.store.memory.log import MemoryLog
from cloche.store.memory.maintenance import MemoryMaintenance, MemoryMetering
from cloche.store.memory.operators import MemoryOperators
from cloche.store.memory.permits import MemoryPermits
from cloche.store.memory.remote import MemoryRemoteTasks
from cloche.store.memory.schedules import MemorySchedules
from cloche.store.memory.tokens import MemoryTokens
from cloche.store.memory.webhooks import MemoryWebhooks
from cloche.store.protocol import News


class MemoryStore(
    MemoryLog,
    MemoryListings,
    MemoryInbox,
    MemoryBlobs,
    MemoryDeployments,
    MemoryMetering,
    MemoryOperators,
    MemoryMaintenance,
    MemoryTokens,
    MemorySchedules,
    MemoryWebhooks,
    MemoryRemoteTasks,
    MemoryPermits,
):
    """Implements `Store`. Durable means: for as long as this object, or another connection to its data, exists."""

    def __init__(self) -> None:
        super().__init__(Connection(MemoryData()))
        self.checkpoints = MemoryCheckpoints()

    def _use(self, connection: Connection) -> None:
        super()._use(connection)
        self.leases = MemoryLeases(connection)

    commits_at_once = 1
    appends_at_once = 4096
    news_every_s = 0.1
    hint = None
    url = "memory:"

    async def connect(self) -> Self:
        """Another connection to the same data, as each process has its own to a file: `news` leaves out its own writes.

        It is a shallow copy: what a subclass must share among its connections belongs in one object that they all refer to.
        """
        made = copy(self)
        made._use(Connection(self._data))
        return made

    async def news(self, since: int | None) -> News:
        mark = self._connection.writes_of_others
        return News(mark, since is not None and mark != since)

    async def close(self) -> None:
        """Nothing has to be let go."""
