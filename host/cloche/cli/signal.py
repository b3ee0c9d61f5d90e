"""Commands that ask the process which executes a run for something: `resume`, `event`, `cancel`.

They check what they can and leave a wish in the store; the worker that has the run grants it, now or when one is started.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click

from cloche.cli.base import command, json_input, key_of, opened, store_option, tenant_option

data_option = click.option("--data", default="null", help="JSON, @file, or - for standard input.")
key_option = click.option("--key", "key", help="The same KEY again for this run is the same wish: it is granted once.")


@command
@click.argument("run_id", metavar="RUN")
@click.option("--step", help="Which suspended step: its id or path; not needed if there is one.")
@click.option("--label", help="Which suspended step: a label it gave itself.")
@click.option("--index", type=click.IntRange(0), help="Which item of a foreach; without it all of them.")
@data_option
@key_option
@store_option
@tenant_option
def resume(
    run_id: str,
    step: str | None,
    label: str | None,
    index: int | None,
    data: str,
    key: str | None,
    store: str,
    tenant: str,
    as_json: bool,
) -> None:
    """Give a suspended RUN the data it waits for."""
    from cloche.operations import replay
    from cloche.run.selection import chosen

    value = json_input(data, "--data")
    named: dict[str, Any] = {"step": step, "label": label, "foreach_index": index}
    if _was_granted(store, run_id, tenant, "resume", key):
        _say_granted(run_id, key, as_json)
        return
    with opened(store) as found:
        suspended = replay.machine_of(found, key_of(run_id, tenant)).suspensions()
        paths = [one.path for one in chosen(run_id, suspended, **named)]
    _leave(store, run_id, tenant, "resume", {"data": value, **named}, key)
    _say(store, run_id, as_json, f"data for {', '.join(paths)}", resumed=paths)


@command
@click.argument("run_id", metavar="RUN")
@click.argument("name")
@data_option
@key_option
@store_option
@tenant_option
def event(run_id: str, name: str, data: str, key: str | None, store: str, tenant: str, as_json: bool) -> None:
    """Send the event NAME to a RUN that waits for it, or will."""
    from cloche.errors import NotSuspended
    from cloche.history.ids import event_name
    from cloche.history.values import plain
    from cloche.operations import replay
    from cloche.run.limits import check_event
    from cloche.status import FINAL

    name, value = event_name(name), plain(json_input(data, "--data"), "payload")
    if _was_granted(store, run_id, tenant, "event", key):
        _say_granted(run_id, key, as_json)
        return
    with opened(store) as found:
        row = replay.row_of(found, key_of(run_id, tenant))
        if row.status in FINAL:
            raise NotSuspended(f"run {run_id} has ended ({row.status}): it takes no event", run_id=run_id, suspended=[])
        check_event(replay.created(found, row.key), value)
    _leave(store, run_id, tenant, "event", [name, value], key)
    _say(store, run_id, as_json, f"event '{name}'", event=name)


@command
@click.argument("run_id", metavar="RUN")
@store_option
@tenant_option
def cancel(run_id: str, store: str, tenant: str, as_json: bool) -> None:
    """Ask a RUN to end: running steps end and are recorded, nothing starts after them.

    Asking again for one that is canceled is no mistake.
    """
    from cloche.errors import NotSuspended
    from cloche.operations import replay
    from cloche.status import FINAL

    with opened(store) as found:
        row = replay.row_of(found, key_of(run_id, tenant))
    if row.status in FINAL and row.status != "canceled":
        raise NotSuspended(f"run {run_id} has ended already: {row.status}", run_id=run_id, suspended=[])
    if row.status != "canceled":
        _leave(store, run_id, tenant, "cancel", "asked for on the command line", None)
    _say(store, run_id, as_json, "the wish to end", canceling=True)


def _was_granted(store: str, run_id: str, tenant: str, kind: str, key: str | None) -> bool:
    from cloche.store import GRANTED
    from cloche.worker.answers import token_of

    if key is None:
        return False
    with opened(store) as found:
        return found.answer(token_of(key_of(run_id, tenant), kind, key)) == GRANTED


def _leave(store: str, run_id: str, tenant: str, kind: str, body: Any, key: str | None) -> None:
    from cloche.history.values import encode
    from cloche.run.clock import SystemWorld
    from cloche.worker.answers import token_of

    run = key_of(run_id, tenant)
    token = token_of(run, kind, key or secrets.token_hex(16))
    with opened(store) as found:
        found.post(run, kind, encode(body), token, SystemWorld().now(), kept=key is not None)


def _say_granted(run_id: str, key: str | None, as_json: bool) -> None:
    from cloche.cli.output import print_json, shown

    if as_json:
        print_json({"run_id": run_id, "key": key, "granted_before": True})
    else:
        click.echo(f"run {shown(run_id)} was given this before, with the key {shown(str(key))}")


def _say(store: str, run_id: str, as_json: bool, what: str, **facts: Any) -> None:
    from cloche.cli.output import print_json, shown
    from cloche.operations.doctor import workers_of

    workers = workers_of(Path(store))
    if as_json:
        print_json({"run_id": run_id, **facts, "executed_by": workers})
        return
    then = (
        f"a worker of this store takes it ({'; '.join(workers)})"
        if workers
        else f"nobody executes this store now: start 'cloche worker TARGET --store {store}'"
    )
    click.echo(f"run {shown(run_id)} has {shown(what)}; {then}")
