"""The interpreter's switch interval: shortened while a guest runs for long, as the worker chose, and put back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from guest.cells import SEED, pack
from support.apps import in_loop

from cloche.engines import SandboxEngine
from cloche.errors import TimeExhausted
from cloche.run.clock import SystemWorld
from cloche.sandbox import Cell, Limits, base_image, load_image
from cloche.sandbox.switch_interval import SWITCH_INTERVAL_S, SwitchInterval, switch_interval
from cloche.store import MemoryStore
from cloche.worker.worker import Worker

START = pack([0, 1_700_000_000_000, SEED, 5, {}])
SPINNING = "export default async () => { for (;;); }"
USUAL = 0.005


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL)
    yield
    sys.setswitchinterval(before)


def seen_while_a_guest_spins() -> set[float]:
    """The intervals while a guest is stopped after 200 ms; it runs in another thread."""
    limits = Limits(wall_ms_per_event=200, fuel_per_event=1 << 60)
    cell = Cell(load_image(base_image(*SandboxEngine().guest()), SPINNING, Limits()), limits)

    def spin() -> None:
        with pytest.raises(TimeExhausted):
            cell.turn([START])

    thread, seen = threading.Thread(target=spin), set[float]()
    thread.start()
    while thread.is_alive():
        seen.add(sys.getswitchinterval())
        time.sleep(0.001)
    return seen


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if holds():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come to that")


def test_it_is_shortened_while_a_guest_runs_for_long() -> None:
    assert SWITCH_INTERVAL_S in seen_while_a_guest_spins()
    eventually(lambda: sys.getswitchinterval() == USUAL)


def test_a_worker_may_leave_it_alone() -> None:
    take_back = switch_interval.choose(None)
    try:
        assert seen_while_a_guest_spins() == {USUAL}
    finally:
        take_back()


def test_of_several_choices_the_shortest_holds() -> None:
    interval = SwitchInterval()
    long, short = interval.choose(0.002), interval.choose(0.001)
    interval.shorten()
    assert sys.getswitchinterval() == 0.001
    short()
    assert sys.getswitchinterval() == USUAL
    interval.shorten()
    assert sys.getswitchinterval() == 0.002
    long()
    assert sys.getswitchinterval() == USUAL


def test_what_the_application_sets_meanwhile_stays() -> None:
    interval = SwitchInterval()
    interval.shorten()
    sys.setswitchinterval(0.003)
    interval.restore()
    assert sys.getswitchinterval() == 0.003


@in_loop
async def test_a_closed_worker_has_no_choice_any_more() -> None:
    worker = Worker(MemoryStore(), SystemWorld(), SandboxEngine(), switch_interval_s=0.0007)
    await worker.begin()
    switch_interval.shorten()
    assert sys.getswitchinterval() == 0.0007
    await worker.close(0)
    assert sys.getswitchinterval() == USUAL
