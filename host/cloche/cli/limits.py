"""The command `limits`: who has permits of limits that hold for all workers, and who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, say, store_option, tenant_option

if TYPE_CHECKING:
    from cloche.operations.limits import LimitState


@command
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--all-tenants", is_flag=True, help="The calls of all tenants.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="So many calls of each limit."
)
@tenant_option
@store_option
def limits(name: str | None, tenant: str, store: str, all_tenants: bool, limit: int, as_json: bool) -> None:
    """Who has permits of limits that hold for all workers, and who waits, the oldest first.

    A limit is there while somebody uses it. NAME shows those of that name alone: one for each value of its key.

    \b
    Examples:
      cloche limits
      cloche limits stripe --all-tenants --json
    """
    from cloche.cli.output import print_json

    options: dict[str, Any] = {"all_tenants": all_tenants}
    found = ask(store, tenant, lambda client: client.limits(name, **options))
    if as_json:
        for one in found:
            print_json(one.to_data())
        return
    if not found:
        say("nobody uses a limit just now" if name is None else f"nobody uses limit '{name}' just now")
    for one in found:
        _print(one, limit)


def _print(one: LimitState, limit: int) -> None:
    from cloche.cli.output import moment
    from cloche.text import shown

    key = f" for {shown(one.key)}" if one.key else ""
    whose = f"  tenant {shown(one.tenant)}" if one.tenant else ""
    most = "?" if one.most is None else f"{one.most:,}"
    window = f" in {one.per_s:g} s" if one.per_s is not None else " at once"
    free = f"  the next is free at {moment(one.free_at)}" if one.free_at is not None and one.used == one.most else ""
    click.echo(f"{shown(one.name)}{key}{whose}  {one.used:,} of {most}{window}  {len(one.waiting):,} wait{free}")
    for what, calls in (("has", one.holders), ("waits", one.waiting)):
        for call in calls[:limit]:
            elsewhere = f" for {shown(call.waits_for)}" if call.waits_for not in (None, one.name) else ""
            at = shown(call.step) if call.step else "the run"
            click.echo(f"  {what + elsewhere:7} {shown(call.run_id)}  {at}  since {moment(call.since)}")
        if len(calls) > limit:
            click.echo(f"  … and {len(calls) - limit:,} more: --limit, or --json")
    if one.others:
        click.echo(f"  {one.others:,} more of other tenants")
