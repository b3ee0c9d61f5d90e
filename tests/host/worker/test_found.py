"""What the simulator found (`tests/simulation` pins the scenarios), each in its smallest form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from support.apps import KEY, Journal

from cloche import DirectEngine, RetryConfig, Workflow, create_workflow
from cloche.history import Kind
from cloche.store import Append, MemoryStore, Outcome, all_records
from cloche.testing import TestApp, VirtualTime, double


def of(id: str) -> Workflow:
    return create_workflow(id=id, retry_config=RetryConfig(attempts=2, delay_s=1))


async def received(store: MemoryStore) -> int:
    return sum(record.kind is Kind.HOOK_RECEIVED for record in await all_records(store, KEY))


def test_a_request_during_a_commit_gets_its_own_record(journal: Journal) -> None:
    waits = [of(name).wait_for_event(name).commit() for name in ("a", "b")]
    workflow = of("w").parallel(waits).commit()
    slow = of("slow").then(journal.acts("slow", lambda data, ctx: asyncio.sleep(60))).commit()
    time, store = VirtualTime(), MemoryStore()

    async def main() -> None:
        async with TestApp(workflow, slow, on=store, world=time.world, engine=DirectEngine()) as app:
            await app.start("slow", {})
            run = await app.start("w", {}, run_id="r1")
            await asyncio.sleep(5)
            await app.send_event("r1", "a", 1)
            for _ in range(20):
                await asyncio.sleep(0)
                if await received(store) == 0 and KEY in app._running.drivers:
                    await app.send_event("r1", "b", 2, idempotency_key="b")
            assert (await run.result()).unwrap() == {"a": 1, "b": 2}
            assert (await received(store), await store.requests()) == (2, [])

    time.run(main())


class SettingStore(MemoryStore):
    """Sets the clock back behind the commit that says that an attempt begins again."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        records = [record for append in appends for record in append.records if record.kind is Kind.ATTEMPT_STARTED]
        if any("redispatched" in record.content() for record in records):
            self._time.set_clock(-3_600)
        return await super().commit(appends)


def test_an_attempt_whose_beginning_is_recorded_begins_whatever_is_done_to_the_clock(journal: Journal) -> None:
    workflow = of("w").then(journal.inc()).commit()
    time = VirtualTime()
    store, inc = SettingStore(time), double("inc", fails=1)

    async def main() -> None:
        first = TestApp(workflow, on=store, world=time.world, engine=DirectEngine(), doubles=[inc])
        await first.__aenter__()
        await first.start("w", {"v": 1}, run_id="r1")
        await asyncio.sleep(0.5)
        await first.vanish()
        await asyncio.sleep(5)
        began = time.world.monotonic()
        async with TestApp(workflow, on=store, world=time.world, engine=DirectEngine(), doubles=[inc]) as second:
            assert (await (await second.get("r1")).result()).unwrap() == {"v": 2}
        assert time.world.monotonic() - began < 60

    time.run(main())
