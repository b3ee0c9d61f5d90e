"""Registering while a `Cloche` is open: another object of an id is refused, or takes its place; a notebook's does so."""

from __future__ import annotations

import linecache
from typing import Any

import pytest
from support.apps import in_loop, until
from support.guests import needs_python

from cloche import Cloche, SyncCloche, UsageError, create_step, create_workflow

CELL = """
import cloche

@cloche.step
async def price(x: int) -> int:
    return x * FACTOR

@cloche.workflow(id="shop")
async def shop(x: int) -> int:
    return await price(x)
"""


def made(factor: int) -> Any:
    """A workflow `shop` of the builder: each call makes another one."""
    return create_workflow(id="shop").then(create_step(id="price", execute=lambda x: x * factor)).commit()


def run_cell(number: int, factor: int, name: str = "<ipython-input-{}-abc>") -> Any:
    """What IPython does with a cell: compiled under a name of its own, with its lines in `linecache`."""
    text, file = CELL.replace("FACTOR", str(factor)), name.format(number)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), names)
    return names["shop"]


@in_loop
async def test_another_one_of_an_id_is_refused_or_takes_its_place() -> None:
    first, second = made(2), made(3)
    async with Cloche(workflows=[first]) as app:
        app.register(first)
        with pytest.raises(UsageError, match="replace=True"):
            app.register(second)
        app.register(second, replace=True)
        assert (await (await app.start("shop", 5)).result()).unwrap() == 15
        assert (await (await app.start(second, 5)).result()).unwrap() == 15
        with pytest.raises(UsageError, match="replace=True"):
            await app.start(first, 5)


@in_loop
async def test_it_is_registered_for_the_next_time_it_is_opened_too() -> None:
    app = Cloche("memory:")
    app.register(made(2))
    app.register(made(3), replace=True)
    async with app:
        assert (await (await app.start("shop", 5)).result()).unwrap() == 15


@in_loop
async def test_open_runs_go_on_under_their_code() -> None:
    first = create_workflow(id="shop").wait_for_event("go").map({"is": {"value": "first"}}).commit()
    second = create_workflow(id="shop").wait_for_event("go").map({"is": {"value": "second"}}).commit()
    async with Cloche(workflows=[first]) as app:
        old = await app.start(first)
        await until(lambda: app.list(status="waiting"))
        app.register(second, replace=True)
        new = await app.start(second)
        for run in (old, new):
            await app.send_event(run.id, "go")
        assert [(await run.result(final=True)).unwrap() for run in (old, new)] == [{"is": "first"}, {"is": "second"}]


@pytest.mark.parametrize("name", ["<ipython-input-{}-abc>", "/tmp/ipykernel_17/{}.py"])
def test_a_cell_that_is_run_again_replaces_what_it_defined(name: str) -> None:
    needs_python()
    with SyncCloche() as app:
        for number, factor in enumerate((2, 3, 4)):
            shop = run_cell(number, factor, name)
            assert app.start(shop, 5).result().unwrap() == 5 * factor
            assert app.start("shop", 5).result().unwrap() == 5 * factor


def test_what_no_cell_defines_is_not_replaced_by_itself() -> None:
    needs_python()
    with SyncCloche() as app:
        assert app.start(run_cell(1, 2), 5).result().unwrap() == 10
        with pytest.raises(UsageError, match="registered here as another one"):
            app.start(made(3), 5)
