"""What a run waits for that a caller can mean: suspended steps by path, id, label or item of a foreach; hooks by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cloche.errors import NotSuspended
from cloche.history import CallId
from cloche.history.effects import Suspension
from cloche.history.lifecycles import RunPhase
from cloche.history.messages import HookReceived, StepResumed

if TYPE_CHECKING:
    from cloche.history import RunMachine
    from cloche.run.inputs import Inputs

_INDEX = re.compile(r"\[\d+\]")


def open_suspensions(machine: RunMachine, inputs: Inputs) -> list[Suspension]:
    """The steps that wait to be resumed, without those for which data has just arrived."""
    answered = {one.call for one in inputs.of_kind(StepResumed)}
    return [one for one in machine.open.suspensions() if one.call not in answered]


def open_hooks(machine: RunMachine, inputs: Inputs) -> dict[str, CallId]:
    """The open hooks for which nothing has arrived yet, the first of each name. A run that is canceled has none."""
    if machine.phase is RunPhase.CANCELING:
        return {}
    answered = {one.call for one in inputs.of_kind(HookReceived)}
    found: dict[str, CallId] = {}
    for hook in machine.open.hooks():
        if hook.call not in answered:
            found.setdefault(hook.name, hook.call)
    return found


def chosen(
    run_id: str,
    suspended: Sequence[Suspension],
    *,
    step: Any = None,
    label: str | None = None,
    foreach_index: int | None = None,
) -> list[Suspension]:
    """The suspensions that are meant. Several only if they are items of one foreach and none was named.

    `step` is an id, a path (`W/ask`, `W.ask`), a list of ids, or the step itself; naming an outer workflow is enough if one
    step inside it is suspended.

    Raises:
        NotSuspended: nothing that is meant is suspended, or what is meant is not clear; the message lists what is.
    """
    found = list(suspended)
    name = path_of(step)
    if label is not None:
        found = [one for one in found if label in one.labels]
    if name is not None:
        found = [one for one in found if _is_named(one.path, name)]
    if foreach_index is not None:
        found = [one for one in found if _index_of(one.path) == foreach_index]
    if not found:
        raise _refusal(run_id, suspended, step, label, foreach_index)
    if len({_INDEX.sub("", one.path) for one in found}) > 1:
        raise NotSuspended(
            f"run {run_id} has multiple suspended steps: {_listed(found)}; name one with step= or label=",
            run_id=run_id,
            suspended=[one.path for one in found],
        )
    return found


def id_path(path: str) -> list[str]:
    """A call path as the list of ids that results show: `W/ask[2]` is `["W", "ask"]`."""
    return _INDEX.sub("", path).split("/")


def path_of(step: Any) -> str | None:
    """What `step=` of a resume names, as text: an id or a path."""
    if step is None or isinstance(step, str):
        return step
    if isinstance(step, Iterable):
        return "/".join(str(getattr(part, "id", part)) for part in step)
    return str(step.id)


def _is_named(path: str, name: str) -> bool:
    plain = _INDEX.sub("", path)
    return any(
        path == said or plain == said or plain.startswith(f"{said}/") or plain.endswith(f"/{said}")
        for said in (name, name.replace(".", "/"))
    )


def _index_of(path: str) -> int | None:
    indexes = _INDEX.findall(path)
    return int(indexes[-1][1:-1]) if indexes else None


def _refusal(
    run_id: str, suspended: Sequence[Suspension], step: Any, label: str | None, index: int | None
) -> NotSuspended:
    said = [
        f"label '{label}'" if label is not None else "",
        f"step '{path_of(step)}'" if step is not None else "",
        f"item {index}" if index is not None else "",
    ]
    what = ", ".join(filter(None, said)) or "anything"
    waits = f"suspended are: {_listed(suspended)}" if suspended else "no step of it is suspended"
    return NotSuspended(
        f"run {run_id} does not wait for {what}: {waits}", run_id=run_id, suspended=[one.path for one in suspended]
    )


def _listed(suspended: Sequence[Suspension]) -> str:
    return ", ".join(f"{one.path}{f' (label {chr(44).join(one.labels)})' if one.labels else ''}" for one in suspended)
