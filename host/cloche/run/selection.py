"""What a run waits for that a caller can mean: suspended steps by path, id, label or item of a foreach; hooks by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from cloche.errors import NotSuspended
from cloche.history import CallId
from cloche.history.effects import Suspension
from cloche.history.messages import HookFailed, HookReceived, StepResumed
from cloche_codegen.graph import Definition, Graph, bodies_of

if TYPE_CHECKING:
    from cloche.history import RunMachine
    from cloche.run.inputs import Inputs

_INDEX = re.compile(r"\[\d+\]")


def open_suspensions(machine: RunMachine, inputs: Inputs) -> list[Suspension]:
    """The steps that wait to be resumed, without those for which data has just arrived."""
    answered = {one.call for one in inputs.of_kind(StepResumed)}
    return [one for one in machine.open.suspensions() if one.call not in answered]


def open_hook(machine: RunMachine, inputs: Inputs, name: str) -> CallId | None:
    """The first open hook for an event of this name for which nothing has arrived yet.

    A run that is canceled or paused has none.
    """
    if not machine.moves:
        return None
    arrived: list[HookReceived | HookFailed] = [*inputs.of_kind(HookReceived), *inputs.of_kind(HookFailed)]
    answered = {one.call for one in arrived}
    return next((call for call in machine.open.awaited.get(name, ()) if call not in answered), None)


def chosen(
    run_id: str,
    suspended: Sequence[Suspension],
    *,
    step: Any = None,
    label: str | None = None,
    foreach_index: int | None = None,
    graph: Graph | None = None,
) -> list[Suspension]:
    """The suspensions that are meant. Several only if they are items of one foreach and none was named.

    Args:
        step: an id, a path (`W/ask`, `W.ask`), a list of ids, or the step itself. A path from the beginning comes before a
            workflow that the step stands in, and that before the last part of a path: `s` is the step `s` of the run itself
            where that is suspended, and not `U/s`. Naming an outer workflow is enough if one step inside it is suspended.
        foreach_index: the item of the list that `step` names, or of the only list that the step stands in.
        graph: of the run's code; without one nothing is a list.

    Raises:
        NotSuspended: nothing that is meant is suspended, or what is meant is not clear; the message lists what is.
    """
    places = [(one, -1) for one in suspended if label is None or label in one.labels]
    if (name := path_of(step)) is not None:
        places = _named(places, name)
    found = [one for one, place in places if foreach_index in (None, _item(graph, one.path, place))]
    if not found:
        raise _refusal(run_id, suspended, step, label, foreach_index)
    if len({_INDEX.sub("", one.path) for one in found}) > 1 or (foreach_index is not None and len(found) > 1):
        raise NotSuspended(
            f"run {run_id} has multiple suspended steps: {_listed(found)}; name one with step= or label=",
            run_id=run_id,
            suspended=[one.path for one in found],
        )
    return found


_Place: TypeAlias = tuple[Suspension, int]  # and the part of its path that is named, counted from 0; -1: none is


def _named(places: Sequence[_Place], name: str) -> list[_Place]:
    """Those that `name` means best, each with the part of its path where the name ends."""
    found: dict[int, list[_Place]] = {}
    for one, _ in places:
        path, plain = one.path, _INDEX.sub("", one.path)
        last = _last_of(path)
        for said in dict.fromkeys((name, name.replace(".", "/"))):
            if said in (path, plain):
                found.setdefault(0, []).append((one, last))
            elif plain.startswith(f"{said}/"):
                found.setdefault(1, []).append((one, _last_of(said)))
            elif plain.endswith(f"/{said}"):
                found.setdefault(2, []).append((one, last))
    return found[min(found)] if found else []


def _item(graph: Graph | None, path: str, place: int) -> int | None:
    """The index of the item that a call at `path` belongs to: of the list at `place`, or of the only one. None: not clear."""
    items = _items(graph, path)
    if place in items:
        return items[place]
    return next(iter(items.values())) if len(items) == 1 else None


def _items(graph: Graph | None, path: str) -> dict[int, int]:
    """The indexes in a path that are of a foreach, and not turns of a loop, by the part that they stand at."""
    definition: Definition | None = graph
    found: dict[int, int] = {}
    for place, part in enumerate(path.split("/")):
        id, _, index = part.partition("[")
        bodies = ((node, body) for node in definition.nodes for body in bodies_of(node)) if definition else ()
        node, body = next(((node, body) for node, body in bodies if body.id == id), (None, None))
        if node is not None and node.type == "foreach" and index:
            found[place] = int(index[:-1])
        inner = getattr(body, "workflow", None)
        definition = graph.workflows.get(inner) if graph is not None and inner is not None else None
    return found


def _last_of(path: str) -> int:
    return path.count("/")


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
