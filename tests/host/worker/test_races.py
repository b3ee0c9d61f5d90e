"""What may happen between a question to the store and its answer: each race of a worker, brought about on purpose."""

from __future__ import annotations

import asyncio
from typing import Any

from support.apps import AppOn, Journal, ManualWorld, ended, in_loop, until

from cloche import Client, create_workflow
from cloche.store import InboxMark, MemoryStore, NewRequests


class HoldingStore(MemoryStore):
    """The call whose name is in `holds` waits, once, before the store has looked; `asked` and `goes_on` are its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.holds: set[str] = set()
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def held(self, name: str) -> None:
        if name in self.holds:
            self.holds.discard(name)
            self.asked.set()
            await self.goes_on.wait()

    async def new_requests(self, worker: str, after: InboxMark | None) -> NewRequests:
        await self.held("new_requests")
        return await super().new_requests(worker, after)


@in_loop
async def test_a_look_under_an_old_name_hides_no_event(journal: Journal) -> None:
    """It is answered when the worker has joined again and owns the run by another name: the event is not the old name's."""
    store, gate, world = HoldingStore(), asyncio.Event(), ManualWorld()
    held = journal.acts("held", lambda data, ctx: gate.wait())
    workflow = create_workflow(id="w").parallel([held, create_workflow(id="go").wait_for_event("go").commit()]).commit()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", None, run_id="r1")
        await until(lambda: len(journal.began) == 1)
        store.holds.add("new_requests")
        look = asyncio.ensure_future(app._running.inbox.look())
        await store.asked.wait()
        await evicted(app, store, world)
        await until(lambda: len(journal.began) == 2)  # it drives the run again
        async with Client(await store.connect(), world=world) as client:
            await client.send_event("r1", "go", 5)
        store.goes_on.set()
        await look
        gate.set()
        assert await ended(run) == ("success", {"held": True, "go": 5})


async def evicted(app: Any, store: MemoryStore, world: ManualWorld) -> None:
    """Others evict the worker of `app`; it notices, and joins again."""
    membership = app._running.membership
    name = membership.worker
    assert await store.leases.evict(next(row for row in await store.leases.workers() if row.id == name))
    world.move(5)
    await until(lambda: membership.worker != name)
