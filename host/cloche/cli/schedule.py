"""The commands for schedules: `schedule put`, `list`, `show`, `pause`, `resume`, `fire`, `delete`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, json_input, say, store_option, tenant_option, user

if TYPE_CHECKING:
    from cloche.client import Client
    from cloche.operations.schedules import FiringInfo, ScheduleInfo

ACTIONS = click.Choice(["put", "list", "show", "pause", "resume", "fire", "delete"])
OVERLAPS = click.Choice(["skip", "queue", "allow", "replace"])


@command
@click.argument("action", type=ACTIONS)
@click.argument("id", metavar="[ID]", required=False)
@click.argument("workflow", metavar="[WORKFLOW]", required=False)
@click.option("--cron", metavar="EXPRESSION", help="put: five fields, minute to day of the week, as '30 2 * * *'.")
@click.option("--every", metavar="TIME", help="put: as 10s, 15m, 1h, 1d; at whole multiples of it.")
@click.option("--at", metavar="INSTANT", help="put: once, as 2026-12-24T18:00; without an offset a time of --tz.")
@click.option("--in", "after", metavar="TIME", help="put: once, so long from now, as 10m.")
@click.option("--tz", default="UTC", show_default=True, help="put: the time zone, as Europe/Berlin.")
@click.option("--input", "given", metavar="JSON|@file|-", help="put: what each run is given.")
@click.option("--overlap", type=OVERLAPS, default="skip", show_default=True, help="put: while the run before is open.")
@click.option(
    "--catch-up",
    type=click.Choice(["none", "latest", "all"]),
    default="latest",
    show_default=True,
    help="put: of the instants that no worker saw.",
)
@click.option("--catch-up-max", type=int, default=100, show_default=True, help="put: how many, with --catch-up all.")
@click.option("--jitter", metavar="TIME", help="put: begin up to so much later, as 30s.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="show: so many instants.")
@tenant_option
@store_option
def schedule(action: str, id: str | None, workflow: str | None, tenant: str, store: str, **given: Any) -> None:
    """Begin runs at set times: make schedules, list them, see what came of their instants.

    Any number of workers see to it, and one run begins at each instant. put of a schedule that is there changes it. show prints
    the last instants: what fired, what was skipped and why. fire begins a run now.

    \b
    Example:
      cloche schedule put nightly report --cron '30 2 * * *' --tz Europe/Berlin
      cloche schedule put reminder report --in 10m --input '{"day": 1}'
      cloche schedule list
      cloche schedule show nightly
    """
    from cloche.errors import UsageError

    as_json = given.pop("as_json")
    if action == "list":
        _print_list(ask(store, tenant, _listed), as_json)
        return
    if id is None:
        raise UsageError(f"say which schedule to {action}: 'cloche schedule list' has their ids")
    if action == "put":
        if workflow is None:
            raise UsageError("say which workflow it begins: cloche schedule put ID WORKFLOW --cron '30 2 * * *'")
        options = _times(given)
        made, warning = ask(store, tenant, lambda client: _put(client, id, workflow, options))
        _print(made, as_json)
        if warning is not None:
            say(warning)
    elif action == "show":
        _show(*ask(store, tenant, lambda client: _shown(client, id, given["limit"])), as_json)
    elif action == "pause":
        _print(ask(store, tenant, lambda client: client.schedules.pause(id, by=user())), as_json)
    elif action == "resume":
        _print(ask(store, tenant, lambda client: client.schedules.resume(id, by=user())), as_json)
    elif action == "fire":
        _say_fired(ask(store, tenant, lambda client: _fired(client, id)), as_json)
    else:
        ask(store, tenant, lambda client: client.schedules.delete(id, by=user()))
        _say_deleted(id, as_json)


def _times(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `put`."""
    from datetime import timedelta

    from cloche.cli.store import milliseconds
    from cloche.errors import UsageError

    if given["at"] is not None and given["after"] is not None:
        raise UsageError("give --at or --in, and not both")
    lasts = {
        name: None if text is None else timedelta(milliseconds=milliseconds(text, option))
        for name, text, option in (
            ("every", given["every"], "--every"),
            ("after", given["after"], "--in"),
            ("jitter", given["jitter"], "--jitter"),
        )
    }
    return {
        "cron": given["cron"],
        "every": lasts["every"],
        "at": lasts["after"] or given["at"],
        "tz": given["tz"],
        "input": None if given["given"] is None else json_input(given["given"], "--input"),
        "overlap": given["overlap"],
        "catch_up": given["catch_up"],
        "catch_up_max": given["catch_up_max"],
        "jitter_s": (lasts["jitter"] or timedelta()).total_seconds(),
    }


async def _put(client: Client, id: str, workflow: str, options: dict[str, Any]) -> tuple[ScheduleInfo, str | None]:
    """The schedule, and what keeps it from beginning runs as things stand."""
    made = await client.schedules.put(id, workflow, by=user(), **options)
    if workflow in {name for one in await client.startable() for name in (one.id, *one.versions)}:
        return made, None
    return (
        made,
        f"warning: nobody has workflow '{workflow}' now: its runs wait for a worker that has it, or for a deploy",
    )


async def _listed(client: Client) -> list[ScheduleInfo]:
    return list(await client.schedules.list())


async def _shown(client: Client, id: str, limit: int) -> tuple[ScheduleInfo, list[FiringInfo]]:
    return await client.schedules.get(id), await client.schedules.firings(id, limit=limit)


async def _fired(client: Client, id: str) -> str:
    return (await client.schedules.fire(id)).id


def _print_list(found: list[ScheduleInfo], as_json: bool) -> None:
    if not found:
        say("the tenant has no schedules: 'cloche schedule put' makes one")
    for one in found:
        _print(one, as_json)


def _print(one: ScheduleInfo, as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    if as_json:
        print_json(one.to_data())
        return
    next_at = "paused" if one.is_paused else f"next {moment(one.next_at)}" if one.next_at is not None else "over"
    zone = "" if one.tz == "UTC" or one.when.startswith("every") else f" {one.tz}"
    waits = f"  {len(one.queued)} wait" if one.queued else ""
    last = f"  last run {shown(one.last_run)}" if one.last_run is not None else ""
    click.echo(f"{shown(one.id)}  {shown(one.workflow)}  {shown(one.when)}{zone}  {next_at}{waits}{last}")


def _show(one: ScheduleInfo, firings: list[FiringInfo], as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    if as_json:
        print_json({**one.to_data(), "firings": [firing.to_data() for firing in firings]})
        return
    _print(one, as_json)
    click.echo(f"  overlap {one.overlap}, catch-up {one.catch_up}, jitter {one.jitter_s:g} s")
    if not firings:
        click.echo("  no instant has come yet")
    for firing in firings:
        until = f" to {moment(firing.until)}" if firing.until is not None else ""
        many = f" ({firing.count:,}{' or more' if firing.count >= 1_000 else ''})" if firing.count > 1 else ""
        run = shown(firing.run) if firing.run is not None else ""
        what = "  ".join(part for part in (run, shown(firing.reason)) if part)
        click.echo(f"  {moment(firing.instant)}{until}{many}  {firing.outcome:8}  {what}".rstrip())


def _say_fired(run: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({"run": run})
    else:
        click.echo(shown(run))


def _say_deleted(id: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({"id": id, "deleted": True})
    else:
        click.echo(f"schedule {shown(id)} is deleted; its runs stay")
