"""Workflows as a foreign engine hosts them: code, steps and retries of each, and the check that the engine can say it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from cloche.engines import CellSource, Code, SandboxEngine, bundle_of, pinned_guest
from cloche.errors import MissingStep, NotFound
from cloche.foreign.refusals import refuse
from cloche.history import DEFAULT_TENANT
from cloche.history.retry import RetryPolicy
from cloche.steps.binding import Checks
from cloche.steps.entries import entry_step
from cloche.steps.registry import calls_of, check_result, pinned_graph, retry_policy_of
from cloche.steps.runner import LocalRunner, Runner
from cloche.steps.schemas import as_plain, validated
from cloche.steps.threads import StepThreads
from cloche_codegen import Step, Workflow


@dataclass(frozen=True)
class Hosted:
    """One committed workflow that can be conducted anywhere: its code, its steps by id and how often each is tried."""

    workflow: Workflow
    code: Code
    cells: CellSource
    steps: Mapping[str, Step]
    runner: Runner

    @classmethod
    def of(cls, workflow: Workflow, steps: Iterable[Step] = (), cells: CellSource | None = None) -> Hosted:
        """`steps` are further ones that a native workflow calls by their ids.

        Raises:
            GuestUnavailable: there is no guest for the workflow's language.
            LoadFailed: its code does not load.
        """
        cells = cells or SandboxEngine()
        code = bundle_of(workflow, *pinned_guest(cells, workflow.language))
        table = {**{step.id: step for step in steps}, **workflow.steps}
        hosted = cls(workflow, code, cells, table, LocalRunner(StepThreads()))
        cells.load(code, hosted.guest, cells.limits(), DEFAULT_TENANT)  # now, and not in the first run's first turn
        return hosted

    @property
    def id(self) -> str:
        return self.workflow.id

    @cached_property
    def digest(self) -> str:
        """Of the code: two processes that have the same lead a run alike."""
        return blake2b(self.code.pack(), digest_size=16).hexdigest()

    def guest(self) -> bytes:
        return self.cells.guest(self.code.language)[1]

    def step(self, id: str, path: str) -> Step:
        """Raises MissingStep: this process does not have it; the engine may try again in another."""
        step = entry_step(self.code, pinned_graph, self.workflow, path) or self.steps.get(id)
        if step is None:
            raise MissingStep(
                f"workflow '{self.id}' calls step '{id}', which this process does not have: give it to the engine with steps=",
                step=id,
            )
        return step

    def retries(self, step: Step, path: str = "") -> RetryPolicy:
        """How often and after what wait the step is tried again where it is called at `path`."""
        return retry_policy_of(self.code, step, path)

    def retries_max(self) -> int:
        """As often as any step of it may be tried again."""
        policies = [self.retries(step) for step in self.steps.values()]
        configs = [one.retry_config for one in self.workflow.workflows.values()]
        nested = [config.attempts for config in configs if config is not None]
        return max([0, *nested, *(max(policy.retries, policy.retries_if_asked) for policy in policies)])

    def checks(self) -> Checks:
        return Checks(self.workflow.validate_inputs, self.workflow.validate_outputs is not False, calls_of(self.code))

    def check_result(self, value: Any) -> None:
        """As the registry's: raises InvalidResult for what the workflow does not say that it returns."""
        if self.checks().outputs:
            check_result(self.workflow, value)

    def checked_input(self, value: Any) -> Any:
        """The input as the workflow's schema has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        adapter = self.workflow.input_adapter() if self.workflow.validate_inputs else None
        if adapter is not None:
            value = validated(adapter, value, f"the input of workflow '{self.id}'")
        return as_plain(adapter, value, "input")

    def checked_state(self, state: Mapping[str, Any]) -> Any:
        """As `checked_input`, for the state that a run begins with."""
        adapter = self.workflow.state_adapter()
        value: Any = dict(state)
        if adapter is not None:
            value = validated(adapter, value, f"the initial state of workflow '{self.id}'")
        return as_plain(adapter, value, "initial_state")


class Hosting:
    """The workflows that one engine hosts, by their ids; children come along."""

    def __init__(self, engine: str, steps: Iterable[Step] = (), cells: CellSource | None = None) -> None:
        """`engine` is a name of `refusals.ENGINES`."""
        self._engine = engine
        self._steps = tuple(steps)
        self._cells = cells or SandboxEngine()
        self._hosted: dict[str, Hosted] = {}

    def add(self, workflow: Workflow) -> list[Hosted]:
        """Host it and its child workflows; those that are new.

        Raises:
            RefusedByEngine: the engine cannot say something in it: every node is named, with the reason.
        """
        if workflow.id in self._hosted:
            return []
        _ = workflow.graph  # raises if it is not committed; a native one knows its steps and children only then
        refuse(self._engine, workflow, {**{step.id: step for step in self._steps}, **workflow.steps})
        hosted = self._hosted[workflow.id] = Hosted.of(workflow, self._steps, self._cells)
        return [hosted, *(new for child in workflow.children.values() for new in self.add(child))]

    def __getitem__(self, id: str) -> Hosted:
        try:
            return self._hosted[id]
        except KeyError:
            message = f"this worker hosts no workflow '{id}': add it to the engine"
            raise NotFound(message, kind="workflow", id=id) from None

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._hosted.values())
