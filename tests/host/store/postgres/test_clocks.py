"""A worker whose clock is not the server's takes no runs, and says so; it takes them when the clock is right."""

from __future__ import annotations

import logging

import pytest
from support.apps import in_loop, until
from support.postgres import Server

from cloche import Client, Cloche, create_step, create_workflow
from cloche.errors import StoreUnavailable
from cloche.history import TimeMs
from cloche.run.clock import SystemWorld
from cloche.status import RunStatus

add = create_step(id="add", execute=lambda data: data + 1)
workflow = create_workflow(id="clocks", input_schema=int).then(add).commit()
naps = create_workflow(id="naps", input_schema=int).sleep(0.01).then(add).commit()


class Wrong(SystemWorld):
    """A clock that is some seconds ahead."""

    ahead_s = 0.0

    def now(self) -> TimeMs:
        return TimeMs(super().now() + int(self.ahead_s * 1000))


@pytest.mark.parametrize(("ahead_s", "side"), [(5.0, "ahead of"), (-5.0, "behind")])
@in_loop
async def test_a_clock_that_is_wrong_takes_no_runs(
    server: Server, caplog: pytest.LogCaptureFixture, ahead_s: float, side: str
) -> None:
    url, world = server.url(), Wrong()
    world.ahead_s = ahead_s
    with caplog.at_level(logging.WARNING, "cloche"):
        async with Cloche(url, workflows=[workflow], world=world) as app, Client(url) as client:
            run = await client.start("clocks", 1, run_id="r1")
            said = f"the clock of this machine is 5.0 s {side} the store's, and 2 s is the most that it may be"
            await until(lambda: said in caplog.text)
            with pytest.raises(StoreUnavailable, match="this worker takes no runs until it is right"):
                await app._running.claims.claim(run._key)
            assert await run.status() == RunStatus.PENDING
            world.ahead_s = 0.0
            assert (await run.result()).result == 2
            assert "agrees with the store's again" in caplog.text
    assert caplog.text.count(said) == 1


@in_loop
async def test_another_worker_takes_them(server: Server) -> None:
    url, world = server.url(), Wrong()
    world.ahead_s = 60.0
    async with Cloche(url, workflows=[naps], world=world), Client(url) as client, Cloche(url, workflows=[naps]):
        runs = [await client.start("naps", number) for number in range(10)]
        assert [(await run.result()).result for run in runs] == [number + 1 for number in range(10)]


@in_loop
async def test_what_is_within_the_bound_is_taken(server: Server) -> None:
    url, world = server.url(), Wrong()
    world.ahead_s = 20.0
    async with Cloche(url, workflows=[workflow], world=world, skew_max_s=60), Client(url) as client:
        assert (await (await client.start("clocks", 1)).result()).result == 2
