"""Sending what a client's store has for others: webhooks of runs that have stopped, and attempts of remote steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloche.client.client import Client
from cloche.operations.deliveries import LOOK_S, Deliveries
from cloche.operations.pushes import Pushes
from cloche.operations.reach import Reach


@asynccontextmanager
async def deliveries(client: Client, reach: Reach | None = None, *, look_s: float = LOOK_S) -> AsyncIterator[None]:
    """While it is open, this process sends the webhooks of the client's store, and pushes attempts of remote steps to their
    receivers. Several processes may: each thing is sent by one of them at a time.

    The client is open already. `reach`: which hosts they are sent to; without, to all that are public. `look_s`: between two
    looks at whether something is due.
    """
    connection = client.connection
    store, now = connection.store, connection.world.now
    pushes = Pushes(store, now, connection.sent, connection.posted, reach, look_s=look_s)
    async with Deliveries(store, now, reach, look_s=look_s), pushes:
        yield
