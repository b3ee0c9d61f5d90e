"""Sending the webhooks of a client's store, beside an app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloche.client import Client
from cloche.operations.deliveries import Deliveries
from cloche.operations.reach import Reach


@asynccontextmanager
async def deliveries(client: Client, reach: Reach | None = None) -> AsyncIterator[None]:
    """While it is open, this process sends the webhooks of the client's store; several processes may.

    The client is open already. `reach`: which hosts they are sent to; without, to all that are public.
    """
    connection = client.connection
    async with Deliveries(connection.store, connection.world.now, reach):
        yield
