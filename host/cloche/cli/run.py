"""Commands that execute runs: `run` and `worker`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cloche.cli.base import (
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_NOT_ENDED,
    command,
    json_input,
    steps_option,
    store_option,
    tenant_option,
)
from cloche.cli.base import run as in_loop
from cloche.status import RESTING, RunStatus

if TYPE_CHECKING:
    from cloche import RunResult
    from cloche.client import Cloche, Run, RunRow
    from cloche.engines import CellSource
    from cloche.history.ids import RunKey

isolation_option = click.option(
    "--isolation",
    type=click.Choice(["thread", "process"]),
    default="thread",
    show_default=True,
    help="Where cells live: in threads of this process, or a locked process for each tenant.",
)
UNFINISHED = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.SUSPENDED, RunStatus.PAUSED, RunStatus.BLOCKED)
UNREADABLE = ("divergence", "broken-chain", "history")


@command
@click.argument("target")
@click.option("--input", "input_text", default="null", help="JSON, @file, or - for standard input.")
@store_option
@click.option("--run-id", help="The run's id; starting the same id with the same input again gives that run.")
@click.option("--engine", type=click.Choice(["sandbox", "direct"]), default="sandbox", show_default=True)
@isolation_option
@steps_option
@tenant_option
def run(
    target: str,
    input_text: str,
    store: str,
    run_id: str | None,
    engine: str,
    isolation: str,
    steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Start a run of TARGET and follow it to its end.

    Ctrl-C leaves a run that `cloche worker` goes on with.
    """
    from cloche import Cloche
    from cloche.cli.output import print_json
    from cloche.cli.targets import find_workflow

    workflow = find_workflow(target, steps)
    value = json_input(input_text, "--input")

    async def whole() -> tuple[str, RunResult | None]:
        stop = _asked_to_leave()
        async with Cloche(
            store, workflows=[workflow], tenant=tenant, engine=_engine(engine, isolation), handle_sigterm=False
        ) as app:
            started = await app.start(workflow, value, run_id=run_id)
            return started.id, await _followed(started, stop, quiet=as_json)

    id, result = in_loop(whole())
    if result is None:
        if as_json:
            print_json({"run_id": id, "status": RunStatus.RUNNING})
        click.echo(f"interrupted: run {id} goes on with 'cloche worker {target} --store {store}'", err=True)
        return EXIT_NOT_ENDED
    code = _finish(result, as_json)
    if result.status == RunStatus.SUSPENDED and not as_json:
        click.echo(f"to go on: cloche resume {id} --data JSON --store {store}, and cloche worker {target}", err=True)
    return code


def _asked_to_leave() -> asyncio.Event:
    """Set by the first Ctrl-C or SIGTERM, whenever it comes. A second one does what it always does."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def leave(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave, number)
    return stop


async def _followed(run: Run, stop: asyncio.Event, *, quiet: bool) -> RunResult | None:
    """Print what happens until the run ends; None when the user or the system asked us to leave."""
    show = asyncio.create_task(_show_progress(run)) if not quiet and sys.stderr.isatty() else None
    result, left = asyncio.create_task(run.result()), asyncio.create_task(stop.wait())
    await asyncio.wait({result, left}, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    if show is not None:
        if result.done():
            await show
        show.cancel()
    if not result.done():
        result.cancel()
        return None
    return result.result()


async def _show_progress(run: Run) -> None:
    from cloche.cli.output import record_line

    click.secho(f"run {run.id}", dim=True, err=True)
    async for record in run.stream():
        if record.kind.name not in ("RUN_CREATED", "ATTEMPT_STARTED"):
            click.echo(record_line(record), err=True)


def _finish(result: RunResult, as_json: bool) -> int:
    from cloche.cli.output import print_json, print_result

    if as_json:
        print_json(result.to_data())
    else:
        print_result(result)
    return _exit_code(result)


def _exit_code(result: RunResult) -> int:
    if result.status == RunStatus.SUCCESS:
        return 0
    if result.status in (RunStatus.FAILED, RunStatus.CANCELED):
        return EXIT_FAILED
    if result.blocked is not None and result.blocked["reason"] in UNREADABLE:
        return EXIT_DIVERGED
    return EXIT_NOT_ENDED


@command
@click.argument("targets", nargs=-1, required=True)
@store_option
@click.option("--once", is_flag=True, help="End when nothing is left to do.")
@isolation_option
@steps_option
@tenant_option
def worker(
    targets: tuple[str, ...], store: str, once: bool, isolation: str, steps: str | None, tenant: str, as_json: bool
) -> int:
    """Recover and continue the unfinished runs of a store, and wait for more. Several workers share a store.

    The TARGETs bring the steps; each run goes on under the code it began with. SIGTERM and Ctrl-C drain: running steps
    end and are recorded.
    """
    from cloche import Cloche
    from cloche.cli.targets import find_workflow

    workflows = [find_workflow(target, steps) for target in targets]

    async def whole() -> int:
        stop = _asked_to_leave()
        async with Cloche(
            store, workflows=workflows, tenant=tenant, engine=_engine("sandbox", isolation), handle_sigterm=False
        ) as app:
            taken = await app.moved()  # from here on they are counted: one may end before the first look
            await app.prewarm()
            return await _work(app, stop, taken, once=once, as_json=as_json)

    return in_loop(whole())


async def _work(app: Cloche, stop: asyncio.Event, taken: Sequence[RunRow], *, once: bool, as_json: bool) -> int:
    """Say what moves here, until we are asked to leave or there is nothing left. Never looks at runs that rest."""
    last: dict[RunKey, str] = {}
    while True:
        done = stop.is_set() or (once and app.is_idle and await app.next_due() is None)
        for row in [*taken, *await app.moved()]:
            if last.get(row.key) != row.status:
                _say_moved(row, as_json)
            if row.status in RESTING:
                last.pop(row.key, None)
            else:
                last[row.key] = row.status
        taken = ()
        if done:
            return await _exit_code_of_all(app) if once else 0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)


def _say_moved(row: RunRow, as_json: bool) -> None:
    from cloche.cli.output import MARKS, print_json, row_data
    from cloche.text import shown

    if as_json:
        print_json(row_data(row))
        return
    mark, color = MARKS.get(row.status, ("…", "cyan"))
    click.secho(f"{mark} ", fg=color, nl=False)
    click.echo(f"{shown(str(row.key))}  {shown(row.workflow)}  {row.status}")


async def _exit_code_of_all(app: Cloche) -> int:
    left = [status for status in UNFINISHED if await app.list(status=status, limit=1)]
    return EXIT_NOT_ENDED if left else 0


def _engine(name: str, isolation: str) -> CellSource:
    from cloche.engines import DirectEngine, ProcessEngine, SandboxEngine
    from cloche.errors import UsageError

    if name == "direct":
        if isolation == "process":
            raise UsageError("--isolation process is for --engine sandbox: the direct engine isolates nothing")
        return DirectEngine()
    return ProcessEngine() if isolation == "process" else SandboxEngine()
