"""Workflows that are written as a function: `@workflow(id="onboard") async def onboard(user): …`.

The function, what it calls and the constants it captures go under glass as they are written; a step of the host that it names
becomes a call of that step from in there; `gather`, `sleep` and their like are the guest's own. The source is taken when the
workflow is first used, so that functions may stand below it in the file.

What an author imports for it is in `words`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, Final, TypeAlias, TypeVar, overload

from pydantic import TypeAdapter

from cloche_codegen import graph as g
from cloche_codegen.builder import Workflow
from cloche_codegen.conditions.functions.refusals import NotUnderGlass
from cloche_codegen.conditions.functions.take import taken
from cloche_codegen.conditions.functions.taken import Taken
from cloche_codegen.errors import GraphError, Problem
from cloche_codegen.parameters import Parameters, annotated_context, input_type, type_of, workflow_parameters
from cloche_codegen.schemas import adapter_of, fields_of
from cloche_codegen.steps import Step, annotation_of
from cloche_codegen.types import Types, has_odd_keys, is_more
from cloche_codegen.validate import problems_of

W = TypeVar("W", bound=Workflow)
Coroutines: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
_INSIDE: Final = frozenset([
    "Batch", "BatchItem", "Canceled", "ClocheError", "CompletionError", "DeadlineExceeded", "EventTimeout", "Failure",
    "FatalError", "HeartbeatTimeout", "Hook", "HookConflict", "InvalidInput", "NotGranted", "RedispatchedTooOften",
    "RetryableError", "RunConflict", "Task", "UnknownOutcome", "continue_as_new", "create_hook", "create_task", "gather",
    "now", "patched", "race", "scope", "set_deadline", "set_tags", "sleep", "sleep_until", "start_child", "wait_for_event",
])  # fmt: skip


@overload
def workflow(function: Coroutines, /, *, workflow_class: type[W]) -> W: ...
@overload
def workflow(
    function: None = None, /, *, id: str | None = None, workflow_class: type[W], **options: Any
) -> Callable[[Coroutines], W]: ...
def workflow(
    function: Coroutines | None = None, /, *, id: str | None = None, workflow_class: type[W], **options: Any
) -> W | Callable[[Coroutines], W]:
    """Make an `async def` a workflow. Its parameter is its input; where several need a value, the input is a mapping of them by
    name; where others have defaults, it is the one value or such a mapping. One named `given` gets the state and request
    context it began with.

    Args:
        id: defaults to the name of the function.
        options: those of `Workflow`: schemas (by default the annotations), description, metadata, retry_config …

    Raises:
        GraphError: It is no async function. What it needs and cannot take along is reported when the workflow is first used.
    """
    if function is None:
        return lambda one: _native_workflow(one, id, workflow_class, options)
    return _native_workflow(function, id, workflow_class, options)


def _native_workflow(function: Coroutines, id: str | None, workflow_class: type[W], options: dict[str, Any]) -> W:
    if not isinstance(function, FunctionType) or not inspect.iscoroutinefunction(function):
        if isinstance(function, str):
            advice = f"an id is given by its name: @workflow(id={function!r})"
            raise GraphError.one("bad_workflow", id or function, f"@workflow takes a function, not text; {advice}")
        name = getattr(function, "__qualname__", repr(function))
        if inspect.isasyncgenfunction(function):
            what = f"{name} has a yield, and a workflow returns one value"
            advice = "collect what it gives in a list; what is to be seen on the way is written by a step: ctx.writer.write(x)"
            raise GraphError.one("bad_workflow", id or name, f"{what}: {advice}")
        raise GraphError.one("bad_workflow", id or name, f"{name} is no async function; write async def {name}(input)")
    described = (inspect.getdoc(function) or "").partition("\n")[0] or None
    name = function.__name__ if id is None else id
    if context := annotated_context(function):
        what = f"a workflow has no StepContext (its parameter {context}): a step has one"
        advice = "what a workflow says for itself is imported from cloche: set_tags, set_deadline, now …"
        raise GraphError.one("bad_workflow", name, f"{what}; {advice}")
    parameters = workflow_parameters(function)
    if "input_schema" not in options:
        parameters = replace(parameters, types=_types_of(name, function, parameters))
    known = list(inspect.signature(workflow_class).parameters)
    if unknown := [one for one in options if one not in known]:
        raise TypeError(f"workflow '{name}' has no option {unknown[0]}={_meant(unknown[0], known)}")
    fields = {"description": described, "guest": "python", **_schemas(name, function, parameters, options), **options}
    made = workflow_class(id=name, **fields)
    made.parameters = parameters
    made.function = function
    made._late = lambda: _graph(made, function)
    return made


def _meant(option: str, options: list[str]) -> str:
    near = {"name": "id"}.get(option) or next(iter(get_close_matches(option, options, 1)), None)
    return f": did you mean {near}=?" if near else f"; there are {', '.join(options)}"


def _types_of(id: str, function: FunctionType, parameters: Parameters) -> dict[str, Any]:
    own = parameters.own.parameters.items()
    return {name: type_of(one, annotation_of(id, function, one.annotation, {})) for name, one in own}


def _schemas(id: str, function: FunctionType, parameters: Parameters, options: dict[str, Any]) -> dict[str, Any]:
    """The annotations, where no schema is given."""
    found: dict[str, Any] = {}
    if "input_schema" not in options:
        found["input_schema"] = input_type(parameters)
    if "output_schema" not in options:
        found["output_schema"] = annotation_of(id, function, parameters.whole.return_annotation, {})
    return found


def _graph(made: Workflow, function: FunctionType) -> g.Graph:
    """Take the function under glass; the steps it calls become those of the workflow."""
    types = Types()

    def crossing(name: str, value: Any) -> str | None:
        return _crossing(made, types, name, value)

    def on_event(name: str | None, schema: Any) -> None:
        types.of(adapter_of(schema, f"{made.id}/{name or 'an event'}"))
        if name is not None:
            made._learn_event(name, schema, f"{made.id}/{name}")

    try:
        own = _own_types(made, types)
        found = taken(function, is_workflow=True, crossing=crossing, types=types, on_event=on_event)
    except NotUnderGlass as error:
        problem = Problem("python_function", made.id, f"the function cannot go under glass: {error}")
        raise GraphError.all(f"workflow {made.id!r} cannot be used", [problem]) from error
    made._native_lines = _places(found)
    native = g.NativeText(
        name=found.name,
        source=found.source,
        exceptions=found.exceptions or None,
        types=own,
        files=found.files or None,
        **_calling(made.parameters),
    )
    graph = made._make_graph(native)
    problems = [*made._problems, *(problems_of(graph) if graph else ())]
    if graph is None or problems:
        raise GraphError.all(f"workflow {made.id!r} cannot be used", problems)
    return graph


def _own_types(made: Workflow, types: Types) -> dict[str, Any] | None:
    """The types of the workflow's own parameters, result and state, where values of them are more than their wire forms."""
    parameters = made.parameters
    assert parameters is not None
    if parameters.is_by_name or parameters.is_either:
        adapters = {name: adapter_of(one, f"{made.id}.{name}") for name, one in parameters.types.items()}
    else:
        adapters = {parameters.first: made.input_adapter()} if parameters.first else {}
    takes = {name: found for name, one in adapters.items() if is_more(found := types.of(one))}
    returns = types.of(made.output_adapter())
    state = {name: found for name, one in fields_of(made.state_schema).items() if is_more(found := types.of(one))}
    said = {"takes": takes, "returns": returns if has_odd_keys(types, returns) else None, "state": state}
    return {name: one for name, one in said.items() if one} or None


def _typed(types: Types, adapter: TypeAdapter[Any] | None, takes: Mapping[str, TypeAdapter[Any] | None]) -> str:
    """The types of a call, as keywords: of its result, and of arguments that cannot cross alone."""
    returns = types.of(adapter)
    odd = {name: found for name, one in takes.items() if has_odd_keys(types, found := types.of(one))}
    return (f", returns={returns!r}" if is_more(returns) else "") + (f", takes={odd!r}" if odd else "")


def _calling(parameters: Parameters | None) -> dict[str, Any]:
    """How the guest calls the function, where that does not follow from its being `(input)` or `(input, given)`."""
    assert parameters is not None
    own = parameters.own.parameters
    if (
        len(own) == 1
        and parameters.context in (None, "given")
        and not parameters.is_by_name
        and parameters.first in own
    ):
        return {"parameters": 2 if parameters.context else 1}
    how = "names" if parameters.is_by_name else "nothing" if parameters.first is None else "value"
    how = "either" if parameters.is_either else how
    return {"parameters": 0, "input": how, "given": parameters.context}


def _crossing(made: Workflow, types: Types, name: str, value: Any) -> str | None:
    """What an object of the host becomes inside: a call of a step, or the guest's own of the same name."""
    if isinstance(value, Step):
        made._register(value)
        takes = {one: value.argument_adapter(one) for one in value.parameters.own.parameters}
        typed = _typed(types, value.output_adapter(), takes)
        return f"{name} = _step({value.id!r}, signature={value.parameters.definition!r}{typed})"
    if isinstance(value, Workflow):
        _add_child(made, value)
        typed = _typed(types, value.output_adapter(), {"input": value.input_adapter()})
        return f"{name} = _child({value.id!r}{_signature(value.parameters)}{typed})"
    if isinstance(value, ModuleType) and value.__name__ == "cloche":
        return "import cloche" if name == "cloche" else f"import cloche as {name}"
    named, home = getattr(value, "__name__", None), getattr(value, "__module__", None) or ""
    if named in _INSIDE and home.partition(".")[0] in ("cloche", "cloche_codegen"):
        return f"from cloche import {named}" + ("" if named == name else f" as {name}")
    return None


def _signature(parameters: Parameters | None) -> str:
    """Of a workflow that is called as a child; nothing for one of the builder, which takes its input alone."""
    if parameters is None:
        return ""
    return f", {parameters.definition!r}" + (", by_name=True" if parameters.is_by_name else "")


def _add_child(made: Workflow, child: Workflow) -> None:
    """A workflow that is called like a function runs as a child: with an id and a history of its own."""
    if made.children.setdefault(child.id, child) is not child:
        message = f"two different workflows have the id {child.id!r}; use clone_workflow to give one another id"
        made._problems.add("two_definitions", f"{made.id}/{child.id}", message)


def _places(found: Taken) -> dict[int, str]:
    """Line of the source → the author's file and line. The name of the file alone: where it lies is no one's business."""
    return {
        line: f"{PurePath(place[0]).name}:{place[1]}" for line, place in enumerate(found.lines, 1) if place is not None
    }
