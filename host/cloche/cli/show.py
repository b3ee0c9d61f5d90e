"""Commands that look: at code, graphs, runs and their records. Nothing is executed and nobody is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import (
    ask,
    command,
    key_of,
    look,
    own_store_option,
    steps_option,
    store_option,
    target_argument,
    tenant_option,
)
from cloche.cli.operate import filters, query_of

if TYPE_CHECKING:
    from cloche.client import Client, RunRow
    from cloche.history import Record
    from cloche.operations.finding import RunList
    from cloche.operations.start_requests import NotBegun
    from cloche.operations.timing import StepStory
    from cloche.operations.view import RunView
    from cloche.operations.why import Why


@command
@target_argument()
@click.option("--map", "with_map", is_flag=True, help="Put the graph node in front of each line.")
@steps_option
def codegen(target: str, with_map: bool, steps: str | None, as_json: bool) -> None:
    """Print the source that TARGET becomes; of TypeScript, what it was written as ('cloche compile' has what runs).

    \b
    Example:
      cloche codegen orders.py:order --map
    """
    from cloche.cli.output import print_json
    from cloche.cli.targets import find_workflow

    workflow = find_workflow(target, steps)
    source = workflow.source()
    files = workflow.authored
    if as_json:
        lines = [{"line": line, "node": node} for line, node in sorted(source.map.items())]
        print_json(
            {
                "workflow": workflow.id,
                "guest": workflow.language,
                "digest": source.digest,
                "code": source.code,
                "map": lines,
                **({"files": files} if files else {}),
            }
        )
    elif files:
        for file, text in files.items():
            click.echo(f"// {file}\n{text.rstrip()}")
    elif with_map:
        width = max((len(node) for node in source.map.values()), default=0)
        for number, line in enumerate(source.code.removesuffix("\n").split("\n"), 1):  # as the map counts
            click.echo(f"{number:>4} {source.map.get(number, ''):{width}} │ {line}")
    else:
        click.echo(source.code, nl=False)


@command
@store_option
@filters
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--cursor", help="Go on where the page before ended.")
@click.option("--all-tenants", is_flag=True, help="Runs of all tenants.")
@tenant_option
def runs(
    store: str, limit: int, cursor: str | None, all_tenants: bool, tenant: str, as_json: bool, **given: Any
) -> None:
    """List runs, newest first; before them those that no worker has begun, with what they wait for.

    \b
    Examples:
      cloche runs --status failed --workflow order
      cloche runs --tag customer=c-17 --since 2h
    """
    from cloche.cli.output import print_json, row_data
    from cloche.operations import stores
    from cloche.operations.finding import RunList
    from cloche.text import shown

    where = shown(stores.shown(store))  # without a password
    query, text = query_of(given)

    async def found(client: Client) -> tuple[Sequence[NotBegun], RunList, Sequence[str]]:
        page = await client.find(text=text, all_tenants=all_tenants, limit=limit, cursor=cursor, **query)
        while text is None and page.next is not None and (left := limit - len(page)):  # what is sought is rare
            more = await client.find(all_tenants=all_tenants, limit=left, cursor=page.next, **query)
            page = RunList([*page, *more], more.next)
        early: Sequence[NotBegun] = ()
        if cursor is None:
            early = await client.not_begun(text=text, all_tenants=all_tenants, limit=limit, **query)
        return early, page, () if all_tenants else await client.other_tenants()

    early, page, others = ask(store, tenant, found)
    _print_not_begun(early, with_tenant=all_tenants, as_json=as_json)
    if not page and not early:
        such = " such" if query or text else ""
        whose = "" if all_tenants else f" of tenant {shown(tenant)}"
        click.echo(f"there are no{such} runs{whose} in {where}", err=True)
    for row in page:
        if as_json:
            print_json(row_data(row))
        else:
            _print_row(row, with_tenant=all_tenants)
    if page.next is not None:
        click.echo(f"there may be more: --cursor {page.next}", err=True)
    if others:
        click.echo(f"other tenants have runs here too ({', '.join(map(shown, others))}): --all-tenants", err=True)


def _print_not_begun(early: Sequence[NotBegun], *, with_tenant: bool, as_json: bool) -> None:
    from cloche.cli.output import not_begun_data, print_json
    from cloche.text import shown

    for one in early:
        if as_json:
            print_json(not_begun_data(one))
            continue
        click.secho(f"… {'pending':9}", fg="cyan", nl=False)
        whose = f" {shown(one.key.tenant):12}" if with_tenant else ""
        click.echo(f"{whose} {one.id:30}  {shown(one.workflow):20}  {shown(one.sentence)}")


def _print_row(row: RunRow, *, with_tenant: bool) -> None:
    from cloche.cli.output import MARKS, moment
    from cloche.text import shown

    mark, color = MARKS.get(row.status, ("…", "cyan"))
    click.secho(f"{mark} {row.status:9}", fg=color, nl=False)
    whose = f" {shown(row.key.tenant):12}" if with_tenant else ""
    click.echo(
        f"{whose} {shown(row.key.run):30}  {shown(row.workflow):20}  {row.head_seq:>6} records  {moment(row.updated_at)}"
    )


@command
@click.argument("run_id", metavar="RUN")
@store_option
@tenant_option
def show(run_id: str, store: str, tenant: str, as_json: bool) -> int:
    """Show one run: why it is not moving and what moves it, its steps, their times, its result.

    \b
    Example:
      cloche show order-1
    """
    from cloche.cli.output import pasted, print_json, print_reason, print_result, print_steps
    from cloche.cli.times import print_stories
    from cloche.text import shown

    async def looked(client: Client) -> tuple[RunView, Why, Sequence[StepStory]]:
        return await client.view(run_id), await client.why(run_id), await client.timing(run_id)

    seen, reason, told = ask(store, tenant, looked)
    result, paste = seen.result, pasted(store, tenant)
    reason = replace(reason, actions=[replace(one, command=paste(one.command)) for one in reason.actions])
    if as_json:
        whole = seen.to_data() if seen.records else _not_begun(seen)
        print_json({**whole, "reason": reason.to_data(), "timing": [one.to_data() for one in told]})
        return 0
    click.echo(paste(shown(seen.why)))
    print_reason(reason)
    if not seen.records:
        return 0
    if seen.on_their_way:
        click.echo(shown(f"on its way: {', '.join(seen.on_their_way)}; a worker that has the run takes it"))
    if result.status == "canceled":
        click.echo(f"  See who has canceled it: {paste(f'cloche audit --run {quote(run_id)}')}")
    code = (
        f", version {shown(reason.version)}" if reason.version else f", code {reason.code[:12]}" if reason.code else ""
    )
    click.echo(f"workflow {shown(result.workflow_id)}{code}, {seen.records} records")
    print_steps(result.steps, is_driven=reason.kind == "step")
    print_stories(told)
    if result.status in ("success", "failed"):
        print_result(result)
    return 0


def _not_begun(seen: RunView) -> dict[str, Any]:
    """A run that no worker has begun."""
    result = seen.result
    return {"run_id": result.run_id, "workflow_id": result.workflow_id, "status": result.status, "why": seen.why}


@command
@click.argument("run_id", metavar="RUN")
@store_option
@click.option("--follow", is_flag=True, help="Go on with new records until the run ends.")
@click.option("--width", type=click.IntRange(40), help="Cut lines to so many characters; by default to the terminal's.")
@tenant_option
def log(run_id: str, store: str, follow: bool, width: int | None, tenant: str, as_json: bool) -> None:
    """Print the records of a run.

    \b
    Example:
      cloche log order-1 --follow
    """
    from cloche.cli.output import line_chars_max, print_json, record_data, record_line

    def show_one(record: Record) -> None:
        if as_json:
            print_json(record_data(record))
        else:
            click.echo(record_line(record, chars_max=width or line_chars_max()))

    ask(store, tenant, lambda client: _print_log(client, run_id, show_one, follow=follow, with_tracebacks=not as_json))


async def _print_log(
    client: Client, run_id: str, show_one: Callable[[Record], None], *, follow: bool, with_tracebacks: bool
) -> None:
    import asyncio
    from textwrap import indent

    from cloche.status import FINAL

    run, seq = await client.get(run_id), 0
    while True:
        status = await run.status()
        for record in await run.history(seq):
            seq = record.seq
            show_one(record)
            if with_tracebacks and (traceback := await run.traceback_of(record)) is not None:
                click.echo(indent(traceback.rstrip("\n"), " " * 7))
        if not follow or status in FINAL:
            return
        await asyncio.sleep(0.1)


@command
@target_argument()
@click.option(
    "--format", "form", type=click.Choice(["text", "mermaid", "json", "svg"]), default="text", show_default=True
)
@click.option("--run", "run_id", metavar="RUN", help="Show in the SVG how far this run is.")
@own_store_option
@tenant_option
@steps_option
def graph(
    target: str, form: str, run_id: str | None, store: str, tenant: str, steps: str | None, as_json: bool
) -> None:
    """Print the graph of TARGET.

    \b
    Example:
      cloche graph orders.py:order --format mermaid
    """
    from cloche.cli.targets import find_workflow
    from cloche.errors import UsageError
    from cloche.text import shown

    if run_id is not None and form != "svg":
        raise UsageError("--run goes with --format svg: the other forms show the graph alone")
    workflow = find_workflow(target, steps)
    if as_json or form == "json":
        click.echo(workflow.graph.to_json(indent=None if as_json else 2))
    elif form == "mermaid":
        click.echo(workflow.to_mermaid(), nl=False)
    elif form == "svg":
        click.echo(workflow.to_svg(_statuses(store, run_id, tenant) if run_id else None), nl=False)
    else:
        for line in workflow.to_text().splitlines():
            click.echo(shown(line))


def _statuses(store: str, run_id: str, tenant: str) -> dict[str, str]:
    from cloche.operations import replay

    result = look(store, lambda found: replay.result_of(found, key_of(run_id, tenant)))
    return {name: step.status for name, step in result.steps.items()}
