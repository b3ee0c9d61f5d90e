"""What pytest gets with cloche: the fixtures `cloche_clock` and `cloche_app`, and async tests that use them.

A test function that asks for one of them may be `async def`: it is run in virtual time, without any other plugin. Nothing of
cloche is loaded before a fixture is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cloche.testing.apps import TestApp
    from cloche.testing.clock import VirtualTime


@pytest.fixture
def cloche_clock() -> VirtualTime:
    """Virtual time: `now()`, `set_clock(by_s)`, and `run(coroutine)` for tests that are not `async def`."""
    from cloche.testing.clock import VirtualTime

    return VirtualTime()


@pytest.fixture
def cloche_app(cloche_clock: VirtualTime) -> Callable[..., Awaitable[TestApp]]:
    """Opens apps in virtual time: `app = await cloche_app(workflow, doubles=[…])`; each is closed when the test ends.

    Arguments are those of `TestApp`. Without `on=` all apps of a test share one store, as processes share a file.
    """
    from cloche.store import MemoryCheckpoints, MemoryStore
    from cloche.testing.apps import TestApp

    store, checkpoints = MemoryStore(), MemoryCheckpoints()

    async def opened(*workflows: Any, **options: Any) -> TestApp:
        given = {"on": store, "checkpoints": checkpoints, "world": cloche_clock.world, **options}
        return await cloche_clock.stack.enter_async_context(TestApp(*workflows, **given))

    return opened


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if "cloche_clock" not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = pyfuncitem.funcargs
    asked = {name: given[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock: Any = given["cloche_clock"]
    clock.run(pyfuncitem.obj(**asked))
    return True
