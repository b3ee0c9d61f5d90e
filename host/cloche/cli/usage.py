"""The command that bills: `usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, key_of, look, say, store_option

if TYPE_CHECKING:
    from cloche.client import RunRow, Usage
    from cloche.operations.stores import Metered, Store, Stored


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--tenant", help="Only this tenant; for a RUN: whose it is.")
@click.option(
    "--stored", is_flag=True, help="What lies in the store now, in runs and bytes: it goes through all of them."
)
@store_option
def usage(run_id: str | None, tenant: str | None, stored: bool, store: str, as_json: bool) -> None:
    """What tenants have used, or one RUN: fuel, time, memory, events, steps, tries, log. The sums have deleted runs in them.

    How large a tenant is now says --stored.

    \b
    Examples:
      cloche usage --tenant acme
      cloche usage --tenant acme --stored
    """
    if stored:
        _print_stored(store, tenant, as_json)
        return
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


def _print_stored(store: str, tenant: str | None, as_json: bool) -> None:
    from dataclasses import asdict

    from cloche.cli.output import print_json
    from cloche.history.ids import tenant_id
    from cloche.text import shown

    async def of_all(found: Store) -> list[tuple[str, Stored]]:
        names = [one.tenant for one in await found.usage(tenant_id(tenant) if tenant is not None else None)]
        return [(name, await found.stored(name)) for name in names]

    for name, one in look(store, of_all):
        whole = one.log_bytes + one.code_bytes + one.checkpoint_bytes
        if as_json:
            print_json({"tenant": name, **asdict(one), "bytes": whole})
            continue
        click.echo(
            f"{shown(name)}  {whole:,} bytes  {one.runs:,} runs ({one.open_runs:,} open, {one.blocked_runs:,} blocked)  "
            f"{one.log_bytes:,} of logs  {one.code_bytes:,} of code  {one.checkpoint_bytes:,} of checkpoints"
        )


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
