"""Whatever an author's code raises where no attempt of a step stands around it: a record or a line in the log, no silence."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator
from support.apps import AppOn, in_loop, until

from cloche import Client, StepContext, create_step, create_workflow
from cloche.errors import InvalidInput, StartRefused
from cloche.store import MemoryStore


class Odd(BaseException):
    pass


ODD = [SystemExit, GeneratorExit, asyncio.CancelledError, Odd, KeyError]


def raising(kind: type[BaseException]) -> Any:
    def raises(_: Any) -> Any:
        raise kind("odd")

    return raises


def raising_later(kind: type[BaseException]) -> Any:
    async def raises(_: Any) -> Any:
        await asyncio.sleep(0)
        raise kind("odd")

    return raises


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("make", [raising, raising_later])
def test_callbacks_that_raise_are_logged(kind: Any, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def live() -> None:
        told: list[str] = []
        bad = create_step(id="bad", execute=raising(ValueError))
        callbacks = {"on_finish": make(kind), "on_error": lambda result: told.append(result.status)}
        async with AppOn(MemoryStore(), workflows=[create_workflow(id="w", **callbacks).then(bad).commit()]) as app:
            assert (await (await app.start("w", 1)).result()).status == "failed"
            assert told == ["failed"]
            assert "a callback of run" in caplog.text
            assert app._running.drivers.callbacks._reports == {}

    live()


@pytest.mark.parametrize("kind", ODD)
@in_loop
async def test_a_start_that_raises_is_refused_to_its_client(kind: Any) -> None:
    store, step = MemoryStore(), create_step(id="s", execute=lambda data: data)
    workflow = create_workflow(id="w", on_start=raising_later(kind)).then(step).commit()
    async with AppOn(store, workflows=[workflow]), Client(await store.connect()) as client:
        with pytest.raises(StartRefused, match=kind.__name__):
            await (await client.start("w", 1)).result()


def _validated(kind: type[BaseException]) -> Any:
    return Annotated[Any, AfterValidator(raising(kind))]


@pytest.mark.parametrize("kind", ODD)
@in_loop
async def test_validators_that_raise_refuse_what_comes(kind: Any) -> None:
    async def ask(data: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend()
        return 1

    asks = create_workflow(id="asks").then(create_step(id="ask", execute=ask, resume_schema=_validated(kind))).commit()
    hears = create_workflow(id="hears").wait_for_event("go", schema=_validated(kind)).commit()
    takes = create_workflow(id="takes", input_schema=_validated(kind)).then(create_step(id="s", execute=ask)).commit()
    async with AppOn(MemoryStore(), workflows=[asks, hears, takes]) as app:
        run = await app.start("asks", 1)
        await run.result()
        with pytest.raises(InvalidInput, match=kind.__name__):
            await run.resume(resume_data=5)
        heard = await app.start("hears", 1)
        with pytest.raises(InvalidInput, match=kind.__name__):
            await app.send_event(heard.id, "go", 1)
        with pytest.raises(InvalidInput, match=kind.__name__):
            await app.start("takes", 1)
        assert len(await app.list()) == 2


@pytest.mark.parametrize("kind", [*ODD, KeyboardInterrupt])
@in_loop
async def test_a_step_in_a_thread_that_raises_fails(kind: Any) -> None:
    bad = create_step(id="bad", execute=raising(kind))
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(bad).commit()]) as app:
        result = await asyncio.wait_for((await app.start("w", 1)).result(), 10)
        assert result.status == "failed"
        await until(lambda: app.is_idle)
