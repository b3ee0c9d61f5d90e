"""What a process can execute: its workflows and steps by id, with their schemas and retries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.engines import Code, graph_of
from cloche.errors import UsageError
from cloche.history.retry import DELAY_MS_MAX, RetryPolicy
from cloche.history.values import plain
from cloche.steps.contracts import contract_of
from cloche.steps.runner import Checks
from cloche.steps.schemas import validated
from cloche.tenancy.cache import TenantCache

if TYPE_CHECKING:
    from cloche_codegen import Graph, Step, Workflow

RETRIES_BYTES_MAX = 64 << 20  # of graphs whose retries are at hand


class Registry:
    """Workflows and steps by id. Code that a tenant brought is never taken for a registered workflow of the same id."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._workflows: dict[str, Workflow] = {}
        self._retries: TenantCache[tuple[str, str, str], RetryPolicy] = TenantCache(RETRIES_BYTES_MAX)

    def register(self, workflows: Iterable[Workflow], steps: Iterable[Step] = ()) -> None:
        """Workflows with their steps and children, and further steps.

        Raises:
            UsageError: two different steps or workflows have one id.
        """
        found: list[Any] = list(workflows)
        for workflow in found:  # which grows meanwhile
            _add(self._workflows, workflow.id, workflow, "workflows")
            if workflow.committed:
                _ = workflow.graph  # a native one knows its steps and children only then
            steps = [*steps, *workflow.steps.values()]
            found += [child for child in workflow.children.values() if child not in found]
        for step in steps:
            _add(self._steps, step.id, step, "steps")

    def workflow(self, id: str) -> Workflow | None:
        return self._workflows.get(id)

    def workflows(self) -> list[Workflow]:
        """All of them, in the order in which they were registered."""
        return list(self._workflows.values())

    def step(self, id: str) -> Step | None:
        return self._steps.get(id)

    def workflow_of(self, code: Code) -> Workflow | None:
        """The workflow of a run's code as it is registered here."""
        return None if code.owner else self._workflows.get(code.workflow)

    def retry_policy(self, step: Step, code: Code) -> RetryPolicy:
        """How often and after what wait the step is tried again in runs of `code`."""
        key = (code.graph, code.owner, step.id)
        known = self._retries.get(key)
        if known is None:
            known = retry_policy_of(code, step)
            self._retries.put(key, known, len(code.graph) + 1000, code.owner)
        return known

    def checks(self, code: Code) -> Checks:
        """Which schemas are applied to the steps of the runs of a code."""
        workflow = self.workflow_of(code)
        return Checks(workflow.validate_inputs, workflow.validate_outputs) if workflow is not None else Checks()

    def checked_resume(self, step_id: str, path: str, data: Any) -> Any:
        """The data that a suspended step at `path` is resumed with, as the step's schema has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        step = self._steps.get(step_id)
        adapter = step.resume_adapter() if step is not None and data is not None else None
        if adapter is not None:
            data = validated(adapter, data, f"the resume data of step '{path}'")
        return plain(data, "resume_data")

    def checked_event(self, code: Code, name: str, payload: Any) -> Any:
        """What an event carries, as the workflow's schema for it has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        of = contract_of(code) if code.owner and code.graph else self.workflow_of(code)
        adapter = of.event_adapter(name) if of is not None else None
        if adapter is not None:
            payload = validated(adapter, payload, f"what event '{name}' carries")
        return plain(payload, "payload")


def _add(table: dict[str, Any], id: str, thing: Any, what: str) -> None:
    known = table.setdefault(id, thing)
    if known is not thing and getattr(known, "execute", known) is not getattr(thing, "execute", thing):
        raise UsageError(f"two {what} have the id '{id}': give one of them another with clone_step or id=")


def retry_policy_of(code: Code, step: Step) -> RetryPolicy:
    """The retries of a step in runs of `code`.

    In the host's own code they are as the pinned graph has them. In code that a tenant brought the host's step is the upper
    bound: its graph can ask for fewer attempts, and the rest is the step's own. One that runs at most once is never repeated.
    """
    if step.at_most_once:
        return RetryPolicy()
    if not code.owner:
        return _as_configured(graph_of(code), step)
    allowed = _as_configured(None, step)
    asked = contract_of(code).retries(step.id) if code.graph else None
    return allowed if asked is None else replace(allowed, retries=min(asked, allowed.retries))


def _as_configured(graph: Graph | None, step: Step) -> RetryPolicy:
    """The step's own configuration, else its workflow's; `retries` of the step overrides the number of attempts.

    A step that the graph does not know is asked itself.
    """
    spec = graph.steps.get(step.id) if graph is not None else None
    config = (spec or step).retry_config or (graph.retry_config if graph is not None else None)
    retries = (spec or step).retries
    if config is None:
        return RetryPolicy(retries or 0)
    return RetryPolicy(
        config.attempts if retries is None else retries,
        int(config.delay_s * 1000),
        config.factor,
        DELAY_MS_MAX if config.delay_s_max is None else int(config.delay_s_max * 1000),
        config.jitter,
        getattr(config, "retry_on", None),
    )
