"""What a process can execute: its workflows and steps by id, with their schemas and retries."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from cloche.engines import Code, is_native, is_written
from cloche.errors import InvalidInput, InvalidResult, SchemaChanged, UsageError
from cloche.history import TenantId
from cloche.history.retry import DELAY_MS_MAX, RETRIES_IF_ASKED, RetryPolicy
from cloche.steps.binding import Calls, Checks
from cloche.steps.context import copied
from cloche.steps.contracts import contract_of
from cloche.steps.entries import changed_entry, entry_step
from cloche.steps.event_names import warn_if_unknown
from cloche.steps.schemas import as_plain, checked, validated
from cloche.steps.sdk import builtin
from cloche.tenancy.beside import beside
from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche_codegen import Graph, RetryConfig, Step, Workflow

CODES_BYTES_MAX = 64 << 20  # of graphs of which is known how their steps are called here
PATHS_MAX = 10_000  # at which steps of one code are called: a guest chooses them
GRAPHS_BYTES_MAX = 256 << 20
_BYTES_EACH = 16  # that a graph takes for each byte of its JSON, about
log = logging.getLogger("cloche")
COMPILED = "step//"  # what ids begin with that a compiler gave
_INDEX = re.compile(r"\[\d+\]")


@dataclass(slots=True)
class _Known:
    """What is known of a code as this process has its steps. It is asked several times a step, and takes a while to find.

    `retries` by the workflow around a call and its step; `unchanged` are the steps that take what the graph says they take.
    """

    checks: Checks
    retries: dict[tuple[str, str], RetryPolicy] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)


class Registry:
    """Workflows and steps by id. Code that a tenant brought is never taken for a registered workflow of the same id."""

    def __init__(self, resources: Mapping[type, Any] | None = None) -> None:
        if not isinstance(resources, Mapping | None):
            raise UsageError(
                f"resources= takes what steps are given by its class, {{Database: database}}, and not {resources!r}"
            )
        self._resources = dict(resources or {})  # what steps are given, by the class that they name
        self._steps: dict[str, Step] = {}
        self._workflows: dict[str, Workflow] = {}
        self._known: TenantCache[tuple[str, str, str, int, bool, bool], _Known] = TenantCache(CODES_BYTES_MAX)

    def register(self, workflows: Iterable[Workflow], steps: Iterable[Step] = ()) -> None:
        """Workflows with their steps and children, and further steps.

        Raises:
            UsageError: two different steps or workflows have one id, or something is neither.
        """
        found: list[Any] = all_of(workflows, "workflow")
        steps = all_of(steps, "step")
        for workflow in found:  # which grows meanwhile
            _add(self._workflows, workflow.id, workflow, "workflows")
            if workflow.committed:
                _ = workflow.graph  # a native one knows its steps and children only then
            steps = [*steps, *workflow.steps.values()]
            found += [child for child in workflow.children.values() if child not in found]
        for step in steps:
            _add(self._steps, step.id, with_resources(step, self._resources), "steps")
        self._known.clear()

    def register_further(self, steps: Iterable[Step]) -> None:
        """Steps that are there where no other has their id."""
        for step in steps:
            if builtin(step.id) is None:
                self._steps.setdefault(step.id, step)

    def replace(self, workflow: Any) -> None:
        """As `register`; what has its id, or that of one of its steps or children, is that no longer."""
        _ = workflow.graph
        for one in (workflow, *workflow.children.values()):
            self._workflows.pop(one.id, None)
            for id in one.steps:
                self._steps.pop(id, None)
        self.register([workflow])

    def workflow(self, id: str) -> Workflow | None:
        return self._workflows.get(id)

    def workflows(self) -> list[Workflow]:
        """All of them, in the order in which they were registered."""
        return list(self._workflows.values())

    def steps(self) -> list[Step]:
        """All of them, in the order in which they were registered."""
        return list(self._steps.values())

    def step(self, id: str) -> Step | None:
        return self._steps.get(id) or self._found(id)

    def _found(self, id: str) -> Step | None:
        return builtin(id) or self._steps.get(self.named(id))

    def named(self, id: str) -> str:
        """The id under which a step is registered here that code calls by `id`: its own, or the name that its function has in a
        file that was compiled, `createAccount` for `step//./flow//createAccount` and `inner` for `step//./flow//main/inner`."""
        if id in self._steps or not id.startswith(COMPILED):
            return id
        name = id.rpartition("//")[2]
        return next((one for one in (name, name.rpartition("/")[2]) if one in self._steps), id)

    def step_at(self, id: str, code: Code, path: str) -> Step | None:
        """What a call of `id` at `path` in runs of `code` performs: a step of this process, or the check of an entry."""
        return self.entry(code, path) or self.step(id)

    def entry(self, code: Code, path: str) -> Step | None:
        """The check of what a nested workflow is entered with, where `path` is that of one: see `entries`."""
        return entry_step(code, pinned_graph, self.workflow_of(code), path)

    def workflow_of(self, code: Code) -> Workflow | None:
        """The workflow of a run's code as it is registered here."""
        return None if code.owner else self._workflows.get(code.workflow)

    def retry_policy(self, step: Step, code: Code, path: str) -> RetryPolicy:
        """How often and after what wait the step is tried again where it is called at `path` in runs of `code`."""
        retries = self._of(code).retries
        key = (_INDEX.sub("", path).rpartition("/")[0] if code.graph else "", step.id)
        known = retries.get(key)
        if known is None:
            if len(retries) >= PATHS_MAX:
                retries.clear()
            known = retries[key] = retry_policy_of(code, step, path)
        return known

    def checks(self, code: Code) -> Checks:
        """Which schemas are applied to the steps of the runs of a code."""
        return self._of(code).checks

    def _of(self, code: Code) -> _Known:
        key = (code.graph, code.owner, code.workflow, code.abi, code.typed, code.is_bundle)
        known = self._known.get(key)
        if known is None:
            known = _Known(self._checks_of(code))
            self._known.put(key, known, len(code.graph) + len(code.workflow) + 1000, code.owner)
        return known

    def _checks_of(self, code: Code) -> Checks:
        workflow = self.workflow_of(code)
        calls = calls_of(code)
        if workflow is None:
            return Checks(outputs=code.typed, calls=calls, tagged=code.is_bundle)
        outputs = code.typed if workflow.validate_outputs is None else workflow.validate_outputs
        return Checks(workflow.validate_inputs, outputs, calls, code.is_bundle)

    def input_schema(self, code: Code, path: str) -> TypeAdapter[Any] | None:
        """What the workflow that the call at `path` stands in takes; nothing in runs that began before there were types."""
        workflow = self.workflow_of(code) if code.typed else None
        return None if workflow is None else input_schema_of(workflow, code, path)

    def result_schema(self, code: Code, name: str) -> TypeAdapter[Any] | None:
        """What the step gives that has this id or path in runs of `code`; as above."""
        if not code.typed:
            return None
        step = self._steps.get(step_named(name))
        return None if step is None else step.output_adapter()

    def check_result(self, code: Code, value: Any) -> None:
        """That a run of `code` may end with `value`.

        Raises:
            InvalidResult: the workflow says that it returns something else.
        """
        workflow = self.workflow_of(code)
        if workflow is not None and self.checks(code).outputs:
            check_result(workflow, value)

    def check_pinned(self, step: Step, code: Code, path: str, given: list[Any], resume_data: Any) -> None:
        """That a deploy did not change what a step, or a nested workflow that it enters, takes; of what never fitted, the
        step's attempt says so itself.

        Raises:
            SchemaChanged: something fits the schema that is pinned with the run, and not today's.
        """
        if code.owner or not code.graph:
            return
        known = self._of(code)
        if step.id in known.unchanged or not known.checks.inputs:
            return
        graph = pinned_graph(code)
        pinned = graph.steps.get(step.id)
        if pinned is not None:
            if _is_pinned(step, step.input_schema, pinned.input_schema) and _is_pinned(
                step, step.resume_schema, pinned.resume_schema
            ):
                known.unchanged.add(step.id)
                return
            if given:
                _check_pinned(step, f"input of step '{step.id}'", step.input_schema, pinned.input_schema, given[0])
            if resume_data is not None:
                what = f"resume data of step '{step.id}'"
                _check_pinned(step, what, step.resume_schema, pinned.resume_schema, resume_data)
        elif given and (entry := changed_entry(graph, self.workflow_of(code), path)) is not None:
            id, today, before = entry
            _check_pinned(step, f"input of workflow '{id}'", today, before, given[0])

    def checked_resume(self, step_id: str, path: str, data: Any) -> Any:
        """The data that a suspended step at `path` is resumed with, as the step's schema has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        step = self.step(step_id)
        adapter = step.resume_adapter() if step is not None and data is not None else None
        if adapter is not None:
            data = checked(adapter, data, f"the resume data of step '{path}'")
        return as_plain(adapter, data, "resume_data")

    def checked_event(self, code: Code, name: str, payload: Any) -> Any:
        """What an event carries, as the workflow's schema for it has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        of = contract_of(code) if code.owner and code.graph else self.workflow_of(code)
        adapter = of.event_adapter(name) if of is not None else None
        if adapter is None:
            is_small = 0 < len(code.graph) < LARGE_GRAPH and not is_native(code)
            warn_if_unknown(code, name, pinned_graph(code) if is_small else None)
        if adapter is not None:
            payload = checked(adapter, payload, f"what event '{name}' carries")
        return as_plain(adapter, payload, "payload")


def calls_of(code: Code) -> Calls:
    """What the arguments of a step's calls are in runs of `code`."""
    if code.abi == 1:
        return "first"
    return "call" if is_written(code) else "value"


def _check_pinned(step: Step, what: str, today: Any, pinned: dict[str, Any] | None, value: Any) -> None:
    from cloche_codegen.schemas import accepted_adapter, adapter_of

    adapter = adapter_of(today, step.id)
    if adapter is None or _is_pinned(step, today, pinned):
        return
    try:
        checked(adapter, copied(value), what)
    except InvalidInput as misfit:
        before = accepted_adapter(pinned)
        if before is not None:
            try:
                validated(before, copied(value), what)
            except InvalidInput:
                return
        raise SchemaChanged(
            f"the {what} fits the schema that the run began with, and not the one it has here: "
            f"{'; '.join(misfit.problems)}",
            step=step.id,
            problems=misfit.problems,
        ) from None


def _is_pinned(step: Step, today: Any, pinned: dict[str, Any] | None) -> bool:
    """Whether the schema that is pinned with a run is today's, or today's takes anything."""
    from cloche_codegen.schemas import adapter_of, json_schema_of

    return adapter_of(today, step.id) is None or json_schema_of(today, "validation", step.id) == pinned


def all_of(given: Any, kind: str) -> list[Any]:
    """The workflows or steps (`kind`) in what somebody gave as a list of them.

    Raises:
        UsageError: it is no such list.
    """
    if hasattr(given, "id") or not isinstance(given, Iterable):
        raise UsageError(f"{kind}s= takes a list: {kind}s=[{getattr(given, 'id', '…')}]")
    all = list(given)
    for one in all:
        if hasattr(one, "execute" if kind == "step" else "committed"):
            continue
        name = str(getattr(one, "id", getattr(one, "__name__", repr(one))))
        advice = f"put @{kind} above {name}" if callable(one) and not hasattr(one, "id") else f"it takes {kind}s alone"
        raise UsageError(f"{kind}s= has {name}, which is a {type(one).__name__} and no {kind}: {advice}")
    return all


def with_resources(step: Any, resources: Mapping[type, Any]) -> Any:
    """The step with what it is given beside its arguments.

    Raises:
        UsageError: it needs what is not there.
    """
    needed: Mapping[str, type] = step.parameters.resources
    if not needed:
        return step
    for name, kind in needed.items():
        if kind not in resources:
            raise UsageError(
                f"step '{step.id}' needs a {kind.__name__} for its parameter '{name}': give it as "
                f"Cloche(resources={{{kind.__name__}: …}})"
            )
    given = {name: resources[kind] for name, kind in needed.items()}
    return replace(step, execute=wraps(step.execute)(partial(step.execute, **given)))


def _add(table: dict[str, Any], id: str, thing: Any, what: str) -> None:
    known = table.setdefault(id, thing)
    if known is not thing and _function(known) is not _function(thing):
        raise UsageError(f"two {what} have the id '{id}': give one of them another with clone_step or id=")


def _function(thing: Any) -> Any:
    """A step's, without what it is given of the host; a workflow itself."""
    execute = getattr(thing, "execute", thing)
    return execute.func if isinstance(execute, partial) and thing.parameters.resources else execute


def is_from_a_notebook(workflow: Workflow) -> bool:
    """Whether a cell of a notebook defines it, or one of its steps: such a cell is run again and again."""
    functions = [workflow.function, *(step.execute for step in workflow.steps.values())]
    files = [
        str(getattr(getattr(inspect.unwrap(one), "__code__", None), "co_filename", "")) for one in functions if one
    ]
    return any(file.startswith("<ipython-input") or "/ipykernel_" in file for file in files)


def is_same(one: Workflow, other: Workflow) -> bool:
    """Whether both do the same: the same graph, and the same functions of steps, or doubles of them."""
    if one is other:
        return True
    if one.graph.digest != other.graph.digest:
        return False
    return all(_function_of(step) == _function_of(other.steps.get(id)) for id, step in one.steps.items())


def _function_of(step: Step | None) -> Any:
    return inspect.unwrap(step.execute) if step is not None else None


def retry_policy_of(code: Code, step: Step, path: str = "") -> RetryPolicy:
    """The retries of a step that is called at `path` in runs of `code`.

    In the host's own code they are as the pinned graph has them. In code that a tenant brought the host's step is the upper
    bound: its graph can ask for fewer attempts, and the rest is the step's own. One that runs at most once is only tried again
    where it says so itself.
    """
    if step.at_most_once and not step.retries:
        return RetryPolicy()
    if not code.owner:
        return _as_configured(pinned_graph(code) if code.graph else None, step, path)
    allowed = _as_configured(None, step, path)
    asked = contract_of(code).retries(step.id, path) if code.graph else None
    if asked is None:
        return allowed
    if_asked = min(asked, allowed.retries_if_asked)
    return replace(allowed, retries=min(asked, allowed.retries), retries_if_asked=if_asked)


def _around(graph: Graph, path: str) -> RetryConfig | None:
    """The configuration of the innermost workflow around `path` that has one."""
    from cloche_codegen.nesting import workflows_around

    configs = (workflow.retry_config for workflow in reversed(workflows_around(graph, path)))
    return next((config for config in configs if config is not None), None)


def _as_configured(graph: Graph | None, step: Step, path: str) -> RetryPolicy:
    """The step's own configuration, else that of the workflow it stands in; `retries` of the step overrides the number of
    attempts. A step that the graph does not know is asked itself.
    """
    spec = graph.steps.get(step.id) if graph is not None else None
    config = (spec or step).retry_config or (_around(graph, path) if graph is not None else None)
    retries = (spec or step).retries
    if config is None:
        return RetryPolicy(retries or 0, retries_if_asked=RETRIES_IF_ASKED if retries is None else 0)
    return RetryPolicy(
        config.attempts if retries is None else retries,
        int(config.delay_s * 1000),
        config.factor,
        DELAY_MS_MAX if config.delay_s_max is None else int(config.delay_s_max * 1000),
        config.jitter,
        getattr(config, "retry_on", None),
    )


LARGE_GRAPH = 16_384  # characters: some milliseconds
_graphs: TenantCache[str, Graph] = TenantCache(GRAPHS_BYTES_MAX)


def pinned_graph(code: Code) -> Graph:
    """The graph of a run's code, which has one, from its JSON."""
    from cloche_codegen import Graph

    found = _graphs.get(code.graph)
    if found is None:
        found = Graph.from_json(code.graph)
        _graphs.put(code.graph, found, _BYTES_EACH * len(code.graph), code.owner)
    return found


async def read_graph(code: Code) -> Graph:
    """As `pinned_graph`, beside the event loop where it takes long."""
    if len(code.graph) < LARGE_GRAPH:
        return pinned_graph(code)
    return await beside(TenantId(code.owner), partial(pinned_graph, code))


def check_result(workflow: Workflow, value: Any) -> None:
    """That a run of `workflow` may end with `value`.

    Raises:
        InvalidResult: the workflow says that it returns something else.
    """
    adapter = workflow.output_adapter()
    if adapter is None:
        return
    try:
        checked(adapter, value, f"the result of workflow '{workflow.id}'")
    except InvalidInput as misfit:
        raise InvalidResult(misfit.message, problems=misfit.problems) from None


def input_schema_of(workflow: Workflow, code: Code, path: str) -> TypeAdapter[Any] | None:
    """That of the workflow, or of one nested in it, that the call at `path` stands in."""
    from cloche_codegen.nesting import workflows_around

    if "/" not in path or not code.graph:
        return workflow.input_adapter()
    found = workflow.workflows.get(workflows_around(pinned_graph(code), path)[-1].id)
    return None if found is None else found.input_adapter()


def step_named(name: str) -> str:
    """The id in a path: `W/ask` and `ask#2` and `ask[3]` are of `ask`."""
    return _INDEX.sub("", name.rpartition("/")[2]).partition("#")[0]
