"""From the arguments of a call, as they are recorded, to a call of the step's function of today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloche.steps.schemas import validated
from cloche.steps.sdk_values import natural

if TYPE_CHECKING:
    from cloche.steps.context import StepContext
    from cloche_codegen import Step

# What a call's arguments are: the first of them is all there is, as under ABI 1; one value that flows in generated code; or
# what the author's code wrote between the parentheses.
Calls: TypeAlias = Literal["first", "value", "call"]


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of one call of a step, plain."""

    positional: list[Any]
    keywords: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checks:
    """Which values are compared with the steps' schemas, and what the arguments of a call are."""

    inputs: bool = True
    outputs: bool = False
    calls: Calls = "value"
    tagged: bool = False  # values are as JavaScript has them: `sdk_values`


def bound(step: Step, asked: Arguments, context: Callable[[Any], StepContext], checks: Checks) -> Callable[[], Any]:
    """The call of the step's function, its arguments as their schemas have them. `context` makes its context of its input.

    Defaults are those of the function as it is now, so that a parameter that was added with one breaks no open run.

    Raises:
        InvalidInput: an argument does not fit its schema.
        TypeError: the function takes other arguments.
    """
    if (whole := getattr(step, "call", None)) is not None:  # a step that takes its call as it was made
        ctx = context(asked.positional[0] if asked.positional else None)
        return partial(whole, asked, ctx, tagged=checks.tagged)
    if checks.tagged:
        asked = Arguments(natural(asked.positional), natural(asked.keywords))
    parameters = step.parameters
    value = asked.positional[0] if asked.positional else None
    if checks.calls == "first" and step.takes_context:  # whatever it is called, the second parameter got the context
        first = next(iter(parameters.whole.parameters))
        data = _input(step, value, checks, first)
        return partial(step.execute, data, context(data))
    is_one = checks.calls != "call" or (len(asked.positional) == 1 and not asked.keywords)
    if is_one and parameters.is_plain:
        data = _input(step, value, checks)
        return partial(step.execute, data) if parameters.context is None else partial(step.execute, data, context(data))
    is_call = checks.calls == "call"
    named = _of_call(step, asked, checks) if is_call else parameters.of_value(_input(step, value, checks))
    made = context(parameters.input_of(named)) if parameters.context is not None else None
    positional, keywords = parameters.spread(named, made)
    return partial(step.execute, *positional, **keywords)


def _input(step: Step, value: Any, checks: Checks, parameter: str | None = None) -> Any:
    """The one value that a step gets, as its schema has it; `parameter` is the one that it becomes, if that is known."""
    if not checks.inputs:
        return value
    adapter = step.input_adapter() if parameter is None else step.argument_adapter(parameter)
    return value if adapter is None else validated(adapter, value, f"the input of step '{step.id}'")


def _of_call(step: Step, asked: Arguments, checks: Checks) -> dict[str, Any]:
    positional = asked.positional
    if not positional and not asked.keywords and len(step.parameters.needed) == 1:
        positional = [None]  # JavaScript's undefined; the Python guest refuses such a call itself
    named = step.parameters.of_call(positional, asked.keywords)
    if not checks.inputs:
        return named
    adapters = ((name, step.argument_adapter(name)) for name in named)
    checked = {
        name: validated(adapter, named[name], f"argument '{name}' of step '{step.id}'")
        for name, adapter in adapters
        if adapter is not None
    }
    return {**named, **checked}
