"""The command that bills: `usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, key_of, look, say, store_option

if TYPE_CHECKING:
    from cloche.client import RunRow, Usage
    from cloche.operations.stores import Metered, Store


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--tenant", help="Only this tenant; for a RUN: whose it is.")
@store_option
def usage(run_id: str | None, tenant: str | None, store: str, as_json: bool) -> None:
    """What tenants have used, or one RUN: fuel, time, memory, events, steps, tries, log. The sums have deleted runs in them.

    \b
    Example:
      cloche usage --tenant acme
    """
    from cloche.history.ids import DEFAULT_TENANT
    from cloche.operations import replay
    from cloche.text import shown

    if run_id is not None:
        key = key_of(run_id, tenant or DEFAULT_TENANT)

        async def of_run(found: Store) -> tuple[RunRow, Metered | None]:
            row = await replay.row_of(found, key)
            return row, await found.metered(row.key)

        row, metered = look(store, of_run)
        assert metered is not None
        _show({"tenant": row.key.tenant, "run_id": row.key.run, "meter": metered.meter}, metered.usage, as_json)
        return
    tenants = ask(store, DEFAULT_TENANT, lambda client: client.usage(tenant))
    if not tenants:
        say("nobody has used anything: there were no runs" + (f" of tenant {shown(tenant)}" if tenant else ""))
    for one in tenants:
        _show({"tenant": one.tenant, "runs": one.runs}, one.usage, as_json)


def _show(of: dict[str, Any], used: Usage, as_json: bool) -> None:
    from dataclasses import asdict

    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({**of, **asdict(used)})
        return
    name = shown(of["tenant"]) + (f" {shown(of['run_id'])}" if "run_id" in of else f"  {of['runs']:,} runs")
    click.echo(
        f"{name}  {used.steps:,} steps  {used.events:,} events  {used.fuel:,} fuel (and {used.overhead_fuel:,} beside) in "
        f"{used.turns:,} turns, {used.wall_us / 1000:,.1f} ms  {used.memory_kib_ms / 1024 / 1000:,.1f} MiB s  "
        f"{used.log_bytes:,} bytes of log  {used.attempts:,} attempts  {used.loop_us / 1000:,.1f} ms of the event loop"
    )
