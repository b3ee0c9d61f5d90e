"""`args` of an exception are on the other side what they were: of a step in its workflow, of a workflow in its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, DirectEngine, SandboxEngine, step, workflow


@pytest.fixture(autouse=True)
def _python() -> None:
    needs_python()


RAISED: dict[str, Callable[[], Exception]] = {
    "key": lambda: KeyError("a"),
    "keys": lambda: KeyError(5, "b"),
    "several": lambda: ValueError("a", 2),
    "empty": lambda: ValueError(),
    "os": lambda: ConnectionResetError(104, "reset by peer"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
}


@step(retries=0)
async def raises(kind: str) -> str:
    raise RAISED[kind]()


@workflow
async def raises_below(kind: str) -> str:
    if kind == "key":
        raise KeyError("a")
    if kind == "keys":
        raise KeyError(5, "b")
    if kind == "several":
        raise ValueError("a", 2)
    if kind == "os":
        raise OSError(104, "reset by peer")
    if kind == "unicode":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")
    raise ValueError


@workflow
async def shows_args(kind: str) -> list[Any]:
    seen: list[Any] = []
    try:
        await raises(kind)
    except Exception as error:
        seen += [str(error), list(error.args)]
    try:
        await raises_below(kind)
    except Exception as error:
        seen += [str(error), list(error.args)]
    return seen


@pytest.mark.parametrize("engine", [SandboxEngine, DirectEngine])
@pytest.mark.parametrize("kind", RAISED)
@in_loop
async def test_args_are_those_that_it_was_raised_with(kind: str, engine: Callable[[], Any]) -> None:
    """By a step, and by a workflow: there a child's."""
    error = RAISED[kind]()
    async with Cloche(workflows=[raises_below, shows_args], engine=engine(), handle_sigterm=False) as app:
        result = await (await app.start("shows_args", kind)).result()
    assert result.unwrap() == [str(error), list(error.args)] * 2
