"""A statement that is not answered is given up, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest
from support.apps import in_loop

from cloche.store.postgres.patience import Patience


async def _never() -> None:
    await asyncio.Event().wait()


async def _given_up(patience: Patience) -> str:
    try:
        await patience.wait(_never())
    except TimeoutError as error:
        return str(error)
    raise AssertionError


@in_loop
async def test_what_is_not_answered_in_time_is_given_up_and_its_task_goes_on() -> None:
    patience = Patience(0.01)
    task = asyncio.create_task(_given_up(patience))
    assert await task == "there was no answer within 0.01 s"
    assert task.cancelling() == 0
    assert await _given_up(patience) == "there was no answer within 0.01 s"  # again, in a task that had no such trouble


@in_loop
async def test_many_share_one_timer_and_each_is_given_up() -> None:
    patience = Patience(0.01)
    assert set(await asyncio.gather(*[_given_up(patience) for _ in range(50)])) == {"there was no answer within 0.01 s"}


@in_loop
async def test_who_cancels_a_task_is_not_told_of_a_time_out() -> None:
    patience = Patience(60)
    task = asyncio.create_task(patience.wait(_never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_loop
async def test_an_answer_comes_through_and_so_does_an_error() -> None:
    patience = Patience(60)

    async def answer() -> int:
        return 7

    async def error() -> int:
        raise ValueError("wrong")

    assert await patience.wait(answer()) == 7
    with pytest.raises(ValueError, match="wrong"):
        await patience.wait(error())
    assert patience._since == {}
