"""The queue of what arrives for a run: its order, who waits for it, and the requests it accepts."""

from __future__ import annotations

import pytest
from support.apps import in_loop
from support.stores import key

from cloche.errors import NotSuspended
from cloche.history import CallId, TimeMs
from cloche.history.messages import CancelRequested, HookReceived, TimerFired
from cloche.run.inputs import Inputs
from cloche.run.waiters import Waiters

NOW = TimeMs(1_000)


def queue() -> tuple[Inputs, Waiters]:
    waiters = Waiters(key("r"))
    return Inputs(waiters), waiters


def timer(call: int) -> TimerFired:
    return TimerFired(NOW, CallId(call))


def test_inputs_are_taken_in_the_order_of_their_arrival() -> None:
    inputs, _ = queue()
    for call in (1, 2, 3):
        inputs.add(timer(call))
    assert inputs.take() == [timer(1), timer(2), timer(3)]
    assert not inputs.waiting


def test_a_cancellation_goes_first() -> None:
    inputs, _ = queue()
    inputs.add(timer(1))
    inputs.add(CancelRequested(NOW, "enough"))
    assert inputs.take() == [CancelRequested(NOW, "enough"), timer(1)]


def test_what_is_put_back_comes_before_the_rest() -> None:
    inputs, _ = queue()
    inputs.add(timer(1))
    inputs.add(timer(2))
    taken = inputs.take()
    inputs.add(timer(3))
    inputs.put_back(taken[1:])
    assert inputs.take() == [timer(2), timer(3)]


@in_loop
async def test_who_waits_is_told_of_the_very_input() -> None:
    inputs, waiters = queue()
    mine, equal = timer(1), timer(1)
    recorded = waiters.wait_for(mine)
    inputs.add(mine)
    inputs.add(equal)
    taken = inputs.take()
    inputs.put_back(taken[:1])
    inputs.committed([equal])
    assert not recorded.done()
    inputs.committed(inputs.take())
    assert recorded.done()


@in_loop
async def test_who_waits_for_what_was_dropped_is_told() -> None:
    inputs, waiters = queue()
    late = timer(1)
    recorded = waiters.wait_for(late)
    inputs.add(late)
    inputs.take()
    inputs.dropped()
    with pytest.raises(NotSuspended):
        await recorded


def test_a_request_goes_with_its_input_and_is_free_when_that_is_dropped() -> None:
    inputs, _ = queue()
    hook = HookReceived(NOW, CallId(1), "hello")
    inputs.add(hook, 7)
    taken = inputs.take()
    assert (inputs.accepts(7), inputs.requests(taken)) == (True, (7,))
    inputs.dropped()
    assert (inputs.accepts(7), inputs.requests(taken)) == (False, ())


def test_an_event_from_outside_begins_a_turn() -> None:
    """Whether its hook is still open is known when the guest has seen what came before."""
    inputs, _ = queue()
    event = HookReceived(NOW, CallId(9), None)
    for one in (timer(1), event, timer(2), event, event):
        inputs.add(one)
    assert [inputs.take() for _ in range(5)] == [[timer(1)], [event, timer(2)], [event], [event], []]


@in_loop
async def test_the_time_of_an_input_is_never_before_the_last() -> None:
    inputs, waiters = queue()
    late = HookReceived(TimeMs(900), CallId(9), None)
    inputs.not_before(TimeMs(950))
    inputs.add(timer(1))
    inputs.add(late, 7)
    recorded = waiters.wait_for(late)
    assert inputs.take() == [timer(1)]
    (taken,) = inputs.take()
    assert taken == HookReceived(NOW, CallId(9), None)
    assert inputs.requests([taken]) == (7,)
    inputs.committed([taken])
    await recorded
    assert not inputs.accepts(7)
