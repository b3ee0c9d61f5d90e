"""The input of a nested workflow, held against its schema where it is entered: a step that is the host's own.

The workflow's code asks for it by the name `cloche:input` where its graph says so (`lower`); the answer is the input as the
schema has it, in the log like any other. No tenant is granted it, and none needs to be: what can be asked for so is a schema of
the run's own graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.steps.contracts import contract_of
from cloche.steps.schemas import as_plain, validated

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

    from cloche.engines import Code
    from cloche_codegen import Graph, Step, Workflow


def entry_step(code: Code, graph: Callable[[Code], Graph], workflow: Workflow | None, path: str) -> Step | None:
    """The step that a call at `path` of runs of `code` means; None where no nested workflow with a schema is entered.

    `graph` reads the code's graph, where it is the host's; `workflow` is the run's as it is registered in this process.
    """
    from cloche_codegen.names import INPUT_CHECK

    at, _, name = path.rpartition("/")
    if not code.graph or name != INPUT_CHECK:
        return None
    from cloche_codegen import create_step

    found = contract_of(code).entry(path) if code.owner else _entry(graph(code), workflow, path)
    if found is None:
        return None
    id, adapter = found
    what = f"the input of workflow '{id}' at '{at}'"

    async def check(data):  # type: ignore[no-untyped-def]  # annotations would be schemas
        return data if adapter is None else as_plain(adapter, validated(adapter, data, what), what)

    return create_step(id=INPUT_CHECK, execute=check, retries=0)


def changed_entry(graph: Graph, workflow: Workflow | None, path: str) -> tuple[str, Any, Any] | None:
    """The nested workflow that a call at `path` enters, its schema as it is registered here, and the one of the graph."""
    from cloche_codegen.nesting import workflows_around

    entered = workflows_around(graph, path)[-1]
    registered = workflow.workflows.get(entered.id) if workflow is not None else None
    return None if registered is None else (entered.id, registered.input_schema, entered.input_schema)


def _entry(graph: Graph, workflow: Workflow | None, path: str) -> tuple[str, TypeAdapter[Any] | None] | None:
    """The nested workflow, and the validator of its input: of what is registered, or else of what the graph says."""
    from cloche_codegen.nesting import workflows_around
    from cloche_codegen.schemas import accepted_adapter

    around = workflows_around(graph, path)
    if len(around) == 1 or not around[-1].checks_input:
        return None
    id = around[-1].id
    if workflow is not None and not workflow.validate_inputs:
        return id, None
    registered = workflow.workflows.get(id) if workflow is not None else None
    return id, accepted_adapter(around[-1].input_schema) if registered is None else registered.input_adapter()
