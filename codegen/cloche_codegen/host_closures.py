"""Functions that cannot go under glass, where the workflow's mode allows them: host closures.

One becomes a step of its own before the node that uses it, so it is called once, on the host, with what flows in; its
answer is in the log, and every replay takes it from there. The step is a `tap`: its answer goes to the node, what flows stays.
Conditions of a block are all asked before the block begins, those of a `choose` as well. A loop asks after each turn, so its
body and the closure become a workflow of their own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal

from cloche_codegen import graph as g
from cloche_codegen.conditions.predicates import PathOperand, Truth
from cloche_codegen.steps import Step, create_step

# The condition of a loop whose turns ask a closure: what `builder` lets each turn answer.
HOLDS = g.PredicateTest(predicate=Truth(op="truthy", value=PathOperand(path="inputData.holds")))
_TURN = re.compile(r"\[(\d+)\]")
_REQUIRED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class HostClosures:
    """The closures that were met while one node was built, until the node takes them."""

    def __init__(self, *, allowed: bool = False) -> None:
        self.allowed = allowed
        self._met: list[Step] = []

    def value(self, function: Callable[..., Any], place: str) -> g.PathValue:
        """A value that `function` gives."""
        return g.PathValue(path=self._meet(function, place, "value"))

    def condition(self, function: Callable[..., Any], place: str) -> g.PredicateTest:
        """Whether what `function` gives is true, as Python takes it."""
        return g.PredicateTest(
            predicate=Truth(op="truthy", value=PathOperand(path=self._meet(function, place, "truth")))
        )

    def _meet(self, function: Callable[..., Any], place: str, gives: Literal["value", "truth"]) -> str:
        """Where the answer is found. `place` is the path of the use, `workflow/node…`."""
        id = f"{place.partition('/')[2].replace('/', '-')}-closure"
        self._met.append(create_step(id=id, execute=_performing(function, gives), retries=0))
        return f"stepResults.{id}.value"

    def take(self) -> list[Step]:
        """The closures that were met since the last call, as steps, in the order of their uses."""
        met, self._met = self._met, []
        return met


def _performing(function: Callable[..., Any], gives: Literal["value", "truth"]) -> Callable[[Any, Any], Any]:
    """The function as a step: what it gives in a mapping, so that None is an answer like any other."""
    takes_context = _takes_context(function)

    def called(data: Any, ctx: Any) -> Any:
        return function(data, HostContext(ctx)) if takes_context else function(data)

    def answer(value: Any) -> dict[str, Any]:
        if gives == "truth":
            return {"value": bool(value)}
        return {"value": value.total_seconds() if isinstance(value, timedelta) else value}

    if inspect.iscoroutinefunction(function):

        async def execute_async(data, ctx):  # type: ignore[no-untyped-def]  # annotations would be schemas
            return answer(await called(data, ctx))

        return execute_async

    def execute(data, ctx):  # type: ignore[no-untyped-def]
        return answer(called(data, ctx))

    return execute


def _takes_context(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some builtins nothing is known
        return False
    return len([one for one in parameters if one.kind in _REQUIRED and one.default is one.empty]) >= 2


class HostContext:
    """What a function under glass finds in its context (`conditions.functions.reading.CONTEXT`), out of a step's."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.input_data = ctx.input_data
        self.init_data = ctx.get_init_data()
        self.state = ctx.state
        self.request_context = ctx.request_context
        self.steps: Mapping[str, Any] = _Results(ctx)

    @property
    def iteration_count(self) -> int:
        """In a loop: how many turns have been made, from 1."""
        turns = _TURN.findall(self._ctx.path)
        if not turns:
            raise AttributeError("iteration_count is there in the condition of a loop")
        return int(turns[-1])

    def get_step_result(self, id: Any) -> Any:
        """What the step `id` gave, or None."""
        return self._ctx.get_step_result(id)

    def get_init_data(self) -> Any:
        """The input of the workflow."""
        return self.init_data


class _Results(Mapping[str, Any]):
    """The results of the steps so far, looked up when they are asked for."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getitem__(self, id: str) -> Any:
        found = self._ctx.get_step_result(id)
        if found is None:
            raise KeyError(id)
        return found

    def __iter__(self) -> Iterator[str]:
        raise TypeError("the results of a run are looked up by id here, not listed")

    def __len__(self) -> int:
        raise TypeError("the results of a run are looked up by id here, not counted")
