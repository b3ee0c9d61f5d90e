"""Requests that wait in the store for a worker: what a run was given already, and has not been told yet."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloche.engines import graph_of
from cloche.errors import NotSuspended
from cloche.history.effects import Suspension
from cloche.history.values import decode
from cloche.operations.replay import row_of
from cloche.run.code import load_code
from cloche.run.selection import chosen

if TYPE_CHECKING:
    from cloche.history import RunKey, RunMachine
    from cloche.store import Store


async def meant(store: Store, machine: RunMachine, asked: Mapping[str, Any]) -> list[Suspension]:
    """The suspended steps that a resume means; `asked` is as `selection.chosen` takes it.

    Raises:
        NotSuspended: there is none, or it is not clear which.
    """
    return await _chosen(store, machine.key, asked, machine.open.suspensions())


async def check_first(store: Store, machine: RunMachine, steps: Sequence[Suspension], token: str) -> None:
    """Whether these steps wait for data still, and not for a worker that has taken a request; `token` is the caller's own.

    Raises:
        NotSuspended: data for one of them is on its way.
    """
    left = (await _left(store, machine, token))[0]
    if paths := [one.path for one in steps if one not in left]:
        run = machine.key.run
        raise NotSuspended(
            f"run {run} does not wait for this any more: data for {', '.join(paths)} is on its way, and a worker that has the "
            "run takes it",
            run_id=run,
            suspended=paths,
        )


async def on_their_way(store: Store, machine: RunMachine) -> list[str]:
    """What a worker will tell the run, for people: `data for ask`, `event paid`, `a cancellation`."""
    rows = await store.requests(machine.key, events=False)
    _, answered = await _left(store, machine, None)
    found = [f"data for {one.path}" for one in answered]
    found += [f"event '{one.name}'" for one in await store.first_events(machine.key, list(machine.open.awaited))]
    return [*found, *("a cancellation" for row in rows if row.kind == "cancel")]


async def _left(store: Store, machine: RunMachine, but: str | None) -> tuple[list[Suspension], list[Suspension]]:
    left, answered = machine.open.suspensions(), list[Suspension]()
    own = await store.request(but) if but is not None else None
    for row in await store.requests(machine.key, events=False) if left else ():
        if row.kind == "resume" and (own is None or own.id != row.id):
            asked = {name: value for name, value in decode(row.body).items() if name != "data"}
            with contextlib.suppress(NotSuspended):  # a worker will refuse it
                answered += await _chosen(store, machine.key, asked, left)
                left = [one for one in left if one not in answered]
    return left, answered


async def _chosen(
    store: Store, key: RunKey, asked: Mapping[str, Any], suspended: Sequence[Suspension]
) -> list[Suspension]:
    named = {name: asked.get(name) for name in ("step", "label", "foreach_index")}
    has_index = named["foreach_index"] is not None
    graph = graph_of(await load_code(store, (await row_of(store, key)).code)) if has_index else None
    return chosen(key.run, suspended, **named, graph=graph)
