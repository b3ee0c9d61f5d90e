"""One attempt of a step, and how it ended, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from cloche.history import TenantId
from cloche.history.failures import leaves
from cloche.steps.context import Bail, StateChange, StepContext, Suspension

if TYPE_CHECKING:
    from cloche.steps.binding import Arguments, Checks
    from cloche.steps.runner import Runner
    from cloche_codegen import Step


@dataclass(frozen=True, slots=True)
class Completed:
    """The step returned `value` (plain), and changed the run's state."""

    value: Any
    changes: list[StateChange]


@dataclass(frozen=True, slots=True)
class Bailed:
    """The step ended its workflow with `value` (plain), and changed the run's state."""

    value: Any
    changes: list[StateChange]


@dataclass(frozen=True, slots=True)
class Suspended:
    """The step waits for outside data; `labels` are names to resume it by. It changed the run's state before."""

    payload: Any
    labels: tuple[str, ...]
    changes: list[StateChange]


Outcome: TypeAlias = Completed | Bailed | Suspended


async def attempt(
    runner: Runner,
    step: Step,
    tenant: TenantId,
    asked: Arguments,
    context: Callable[[Any, list[StateChange]], StepContext],
    checks: Checks,
) -> Outcome:
    """Make one attempt. `context` makes what the step sees, of its input and of the list that its state changes go to.

    Raises:
        BaseException: whatever the step raised, as it is.
    """
    changes: list[StateChange] = []
    try:
        value = await runner.perform(step, tenant, asked, lambda data: context(data, changes), checks)
    except BaseException as error:
        match _meant(error):
            case Suspension(payload=payload, labels=labels):
                return Suspended(payload, labels, changes)
            case Bail(value=value):
                return Bailed(value, changes)
        raise
    return Completed(value, changes)


def _meant(error: BaseException) -> BaseException:
    """What ends the attempt. A task group gives what its tasks raised as a group: suspensions alone are what the step wants."""
    first, *others = leaves(error)
    return first if all(isinstance(one, Suspension | Bail) for one in (first, *others)) else error
