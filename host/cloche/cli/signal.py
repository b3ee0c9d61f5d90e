"""Commands that ask the process which executes a run for something: `resume`, `event`, `cancel`.

A request is checked as far as the store allows, and left there; the worker that has the run accepts it, now or later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, json_input, store_option, tenant_option, user
from cloche.errors import UsageError

if TYPE_CHECKING:
    from cloche.client import Client

data_option = click.option("--data", help="JSON, @file, or - for standard input; without it null.")
key_option = click.option(
    "--key", "key", help="The same KEY again for this run is the same request: it is accepted once."
)


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--hook", metavar="TOKEN", help="In place of RUN: whichever waits with the hook that has this token.")
@click.option("--step", help="Which suspended step: its id or path; not needed if there is one.")
@click.option("--label", help="Which suspended step: a label it gave itself.")
@click.option(
    "--index", "foreach_index", type=click.IntRange(0), help="Which item of a foreach; without it all of them."
)
@data_option
@key_option
@store_option
@tenant_option
def resume(
    run_id: str | None,
    hook: str | None,
    data: str | None,
    key: str | None,
    store: str,
    tenant: str,
    as_json: bool,
    **named: Any,
) -> None:
    """Give a suspended RUN, or the one that waits with a hook, the data it waits for.

    Data that does not fit what the step asks for is refused, with the place ('cloche show RUN' prints what it takes).

    \b
    Example:
      cloche resume order-1 --step approve --data '{"ok": true}'
    """
    value = None if data is None else json_input(data, "--data")
    if hook is not None and run_id is None and set(named.values()) == {None}:
        _resume_hook(hook, value, key, store, tenant, as_json)
        return
    if run_id is None or hook is not None:
        raise UsageError("give either RUN, or --hook TOKEN and neither RUN nor a step of it")

    async def leave(client: Client) -> tuple[list[str] | None, Sequence[str]]:
        paths = await client.request_resume(
            run_id, resume_data=value, idempotency_key=key, is_given=data is not None, by=user(), **named
        )
        return paths, await client.workers()

    paths, workers = ask(store, tenant, leave)
    if paths is None:
        _say_accepted(run_id, key, as_json)
    else:
        what = "data" if data is not None else "null (no --data was given)"
        _say(
            store,
            run_id,
            workers,
            as_json,
            f"{what} for {', '.join(paths)}" if paths else "leave to go on",
            resumed=paths,
        )


@command
@click.argument("run_id", metavar="RUN")
@click.argument("name")
@data_option
@click.option("--error", metavar="TEXT", help="In place of data: what waits for the event fails with this.")
@click.option("--heartbeat", is_flag=True, help="In place of data: whoever is to send the event is still at it.")
@key_option
@store_option
@tenant_option
def event(
    run_id: str,
    name: str,
    data: str | None,
    error: str | None,
    heartbeat: bool,
    key: str | None,
    store: str,
    tenant: str,
    as_json: bool,
) -> None:
    """Send the event NAME to a RUN that waits for it, or will.

    \b
    Example:
      cloche event order-1 paid --data '{"amount": 3}'
    """
    value = None if data is None else json_input(data, "--data")
    if (value is not None) + (error is not None) + heartbeat > 1:
        raise UsageError("give one of --data, --error and --heartbeat")

    async def leave(client: Client) -> tuple[bool, Sequence[str]]:
        if heartbeat:
            await client.heartbeat_event(run_id, name)
            return True, await client.workers()
        is_new = await client.send_event(run_id, name, value, error=error, idempotency_key=key, by=user())
        return is_new, await client.workers()

    is_new, workers = ask(store, tenant, leave)
    if not is_new:
        _say_accepted(run_id, key, as_json)
    else:
        what = "a sign of life for event" if heartbeat else "a failure for event" if error is not None else "event"
        _say(store, run_id, workers, as_json, f"{what} '{name}'", event=name)


def _resume_hook(token: str, value: Any, key: str | None, store: str, tenant: str, as_json: bool) -> None:
    async def leave(client: Client) -> tuple[str, Sequence[str]]:
        return await client.resume_hook(token, value, idempotency_key=key), await client.workers()

    run_id, workers = ask(store, tenant, leave)
    _say(store, run_id, workers, as_json, "a payload for its hook", resumed=[])


@command
@click.argument("run_id", metavar="RUN")
@store_option
@tenant_option
def cancel(run_id: str, store: str, tenant: str, as_json: bool) -> None:
    """Ask a RUN to end: running steps end and are recorded, nothing starts after them.

    Asking again for one that is canceled is no mistake.

    \b
    Example:
      cloche cancel order-1
    """
    from cloche.errors import NotSuspended
    from cloche.status import FINAL

    async def leave(client: Client) -> Sequence[str]:
        run = await client.get(run_id)
        status = await run.status()
        if status in FINAL and status != "canceled":
            raise NotSuspended(f"run {run_id} has ended already: {status}", run_id=run_id, suspended=[])
        await client.cancel(run_id, by=user())
        return await client.workers()

    workers = ask(store, tenant, leave)
    _say(store, run_id, workers, as_json, "the request to end", canceling=True)


def _say_accepted(run_id: str, key: str | None, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({"run_id": run_id, "key": key, "granted_before": True})
    else:
        click.echo(f"run {shown(run_id)} was given this before, with the key {shown(str(key))}")


def _say(store: str, run_id: str, workers: Sequence[str], as_json: bool, what: str, **facts: Any) -> None:
    from cloche.cli.output import print_json
    from cloche.operations import stores
    from cloche.text import shown

    if as_json:
        print_json({"run_id": run_id, **facts, "executed_by": list(workers)})
        return
    then = (
        f"a worker of this store takes it ({'; '.join(workers)})"
        if workers
        else f"nobody executes this store now: start 'cloche worker TARGET --store {stores.shown(store)}'"
    )
    click.echo(f"run {shown(run_id)} has {shown(what)}; {then}")
