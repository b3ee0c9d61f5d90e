"""The command line: parse, call the client, print. Everything heavy is imported when a command needs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloche.engines import CellSource
    from cloche.history import RunId, RunKey
    from cloche.runtime import Cloche, Run, RunResult
    from cloche.store import SqliteStore

EXIT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_NOT_FOUND, EXIT_STORE, EXIT_NOT_ENDED = 1, 2, 3, 4, 5, 75
UNFINISHED = ("running", "waiting", "blocked")
UNREADABLE = ("divergence", "broken-chain", "history")

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cloche", prog_name="cloche")
def main() -> None:
    """Durable workflows under glass.

    \b
    TARGET is path/to/file.py:name, package.module:name, or a graph's .json with --steps.
    Exit codes: 0 success · 1 the run failed or was canceled · 2 wrong use or bad input · 3 divergence or
    failed verification · 4 not found · 5 store unavailable or in use · 75 not ended, and not followed.
    """


def command(function: F) -> F:
    """A command with `--json`, whose errors are messages and exit codes, never tracebacks."""

    @main.command(function.__name__.rstrip("_"), help=function.__doc__)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one a line for lists.")
    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:
        from cloche.errors import ClocheError
        from cloche_codegen import GraphError

        try:
            code = function(*args, **options)
        except (ClocheError, GraphError) as error:
            sys.exit(_explain(error, options["as_json"]))
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe went away: that is its right
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        sys.exit(code or 0)

    return run  # type: ignore[return-value]


store_option = click.option(
    "--store", envvar="CLOCHE_STORE", default="cloche.db", show_default=True, help="The store's file (CLOCHE_STORE)."
)
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose runs.")
steps_option = click.option("--steps", help="Python file with the steps of a .json TARGET.")


def _explain(error: Exception, as_json: bool) -> int:
    from cloche import errors
    from cloche.cli_output import print_json, shown

    code = getattr(error, "code", "graph")
    message = str(error)
    if as_json:
        print_json({"error": {"code": code, "message": message}})
    else:
        click.echo(f"{click.style('error', fg='red')}: {_lines(shown, message)}", err=True)
    match error:
        case errors.NotFound():
            return EXIT_NOT_FOUND
        case errors.StoreError():
            return EXIT_STORE
        case errors.HistoryError():
            return EXIT_DIVERGED
        case errors.GuestFault() | errors.RunFailed():
            return EXIT_FAILED
        case _:
            return EXIT_USAGE


def _lines(clean: Callable[[str], str], text: str) -> str:
    return "\n".join(clean(line) for line in text.splitlines())


# ---- run and worker ----


@command
@click.argument("target")
@click.option("--input", "input_text", default="null", help="JSON, @file, or - for standard input.")
@store_option
@click.option("--run-id", help="The run's id; starting the same id with the same input again gives that run.")
@click.option("--engine", type=click.Choice(["sandbox"]), default="sandbox", show_default=True)
@steps_option
@tenant_option
def run(
    target: str,
    input_text: str,
    store: str,
    run_id: str | None,
    engine: str,
    steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Start a run of TARGET and follow it to its end.

    Ctrl-C leaves a run that `cloche worker` goes on with.
    """
    from cloche import Cloche
    from cloche.targets import find_workflow

    workflow = find_workflow(target, steps)
    value = _json_input(input_text)

    async def whole() -> tuple[str, RunResult | None]:
        async with Cloche(
            store, workflows=[workflow], tenant=tenant, engine=_engine(engine), handle_sigterm=False
        ) as app:
            started = await app.start(workflow, value, run_id=run_id)
            return started.id, await _followed(started, quiet=as_json)

    id, result = asyncio.run(whole())
    if result is None:
        click.echo(f"interrupted: run {id} goes on with 'cloche worker {target} --store {store}'", err=True)
        return EXIT_NOT_ENDED
    return _finish(result, as_json)


async def _followed(run: Run, *, quiet: bool) -> RunResult | None:
    """Print what happens until the run ends; None when the user or the system asked us to leave."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
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
    from cloche.cli_output import record_line

    click.secho(f"run {run.id}", dim=True, err=True)
    async for record in run.stream():
        if record.kind.name not in ("RUN_CREATED", "ATTEMPT_STARTED"):
            click.echo(record_line(record), err=True)


def _finish(result: RunResult, as_json: bool) -> int:
    from cloche.cli_output import print_json, print_result

    if as_json:
        print_json(result.to_data())
    else:
        print_result(result)
    return _exit_code(result)


def _exit_code(result: RunResult) -> int:
    if result.status == "success":
        return 0
    if result.status in ("failed", "canceled"):
        return EXIT_FAILED
    if result.blocked is not None and result.blocked["reason"] in UNREADABLE:
        return EXIT_DIVERGED
    return EXIT_NOT_ENDED


@command
@click.argument("targets", nargs=-1, required=True)
@store_option
@click.option("--once", is_flag=True, help="End when nothing is left to do.")
@steps_option
@tenant_option
def worker(targets: tuple[str, ...], store: str, once: bool, steps: str | None, tenant: str, as_json: bool) -> int:
    """Recover and continue all unfinished runs of a store, and wait for more.

    The TARGETs bring the steps; each run goes on under the code it began with. SIGTERM and Ctrl-C drain: running steps
    end and are recorded.
    """
    from cloche import Cloche
    from cloche.targets import find_workflow

    workflows = [find_workflow(target, steps) for target in targets]

    async def whole() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with Cloche(store, workflows=workflows, tenant=tenant, handle_sigterm=False) as app:
            return await _work(app, stop, once=once, as_json=as_json)

    return asyncio.run(whole())


async def _work(app: Cloche, stop: asyncio.Event, *, once: bool, as_json: bool) -> int:
    from cloche.cli_output import MARKS, print_json, row_data, shown

    last: dict[RunId, str] = {}
    while True:
        rows = {row.key.run: row for status in UNFINISHED for row in await app.list(status=status, limit=None)}
        for id in last:
            if id not in rows:
                rows[id] = await (await app.get(id)).row()
        for id, row in sorted(rows.items()):
            if last.get(id) == row.status:
                continue
            if as_json:
                print_json(row_data(row))
            else:
                mark, color = MARKS.get(row.status, ("…", "cyan"))
                click.secho(f"{mark} ", fg=color, nl=False)
                click.echo(f"{shown(id)}  {shown(row.workflow)}  {row.status}")
        last = {id: row.status for id, row in rows.items() if row.status in UNFINISHED}
        if stop.is_set() or (once and not any(status in ("running", "waiting") for status in last.values())):
            return EXIT_NOT_ENDED if once and last else 0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)


# ---- looking ----


@command
@click.argument("target")
@click.option("--map", "with_map", is_flag=True, help="Put the graph node in front of each line.")
@steps_option
def codegen(target: str, with_map: bool, steps: str | None, as_json: bool) -> None:
    """Print the source that TARGET becomes."""
    from cloche.cli_output import print_json
    from cloche.targets import find_workflow

    workflow = find_workflow(target, steps)
    source = workflow.source("javascript")
    if as_json:
        lines = [{"line": line, "node": node} for line, node in sorted(source.map.items())]
        print_json({"workflow": workflow.id, "digest": source.digest, "code": source.code, "map": lines})
    elif with_map:
        width = max((len(node) for node in source.map.values()), default=0)
        for number, line in enumerate(source.code.splitlines(), 1):
            click.echo(f"{number:>4} {source.map.get(number, ''):{width}} │ {line}")
    else:
        click.echo(source.code, nl=False)


@command
@store_option
@click.option("--status", help="Only runs with this status.")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@tenant_option
def runs(store: str, status: str | None, workflow: str | None, limit: int, tenant: str, as_json: bool) -> None:
    """List runs, newest first."""
    from cloche.cli_output import MARKS, moment, print_json, row_data, shown

    if not Path(store).exists():
        return
    with _opened(store) as opened:
        rows = opened.runs(tenant=tenant, status=status, workflow=workflow, limit=limit)
    for row in rows:
        if as_json:
            print_json(row_data(row))
            continue
        mark, color = MARKS.get(row.status, ("…", "cyan"))
        click.secho(f"{mark} {row.status:9}", fg=color, nl=False)
        click.echo(
            f" {shown(row.key.run):30}  {shown(row.workflow):20}  {row.head_seq:>6} records  {moment(row.updated_at)}"
        )


@command
@click.argument("run_id", metavar="RUN")
@store_option
@tenant_option
def show(run_id: str, store: str, tenant: str, as_json: bool) -> int:
    """Show one run: why it is not moving, its steps, their times, its result."""
    from cloche.cli_output import print_json, print_result, print_steps
    from cloche.runtime import reading
    from cloche.runtime.clock import SystemWorld

    with _opened(store) as opened:
        key = _key(run_id, tenant)
        result = reading.result_of(opened, key)
        row = reading.row_of(opened, key)
    why = reading.why_not_moving(result, row.wake_at, SystemWorld().now())
    if as_json:
        print_json({**result.to_data(), "why": why})
        return 0
    click.echo(why)
    click.echo(f"workflow {result.workflow_id}, {row.head_seq} records")
    print_steps(result.steps)
    if result.status in ("success", "failed"):
        print_result(result)
    return 0


@command
@click.argument("run_id", metavar="RUN")
@store_option
@click.option("--follow", is_flag=True, help="Go on with new records until the run ends.")
@tenant_option
def log(run_id: str, store: str, follow: bool, tenant: str, as_json: bool) -> None:
    """Print the records of a run."""
    import time

    from cloche.cli_output import print_json, record_data, record_line
    from cloche.history import Seq
    from cloche.runtime import reading
    from cloche.runtime.results import FINAL

    with _opened(store) as opened:
        key, seq = _key(run_id, tenant), Seq(0)
        while True:
            row = reading.row_of(opened, key)
            for record in opened.records(key, seq):
                seq = record.seq
                if as_json:
                    print_json(record_data(record))
                else:
                    click.echo(record_line(record))
            if not follow or row.status in FINAL:
                return
            time.sleep(0.1)


@command
@click.argument("run_id", metavar="RUN")
@store_option
@click.option("--with", "target", metavar="TARGET", help="Replay on today's code of TARGET, not on the run's own.")
@steps_option
@tenant_option
def replay(run_id: str, store: str, target: str | None, steps: str | None, tenant: str, as_json: bool) -> int:
    """Feed a run's history to a fresh guest and compare every command."""
    from cloche.cli_output import print_json, shown
    from cloche.engines import SandboxEngine
    from cloche.runtime import reading
    from cloche.runtime.client import code_of
    from cloche.targets import find_workflow

    engine = SandboxEngine()
    code = code_of(find_workflow(target, steps), engine) if target else None
    with _opened(store) as opened:
        report = reading.replay(opened, _key(run_id, tenant), engine, code)
    if as_json:
        print_json(
            {
                "run_id": run_id,
                "ok": report.ok,
                "events": report.events,
                "seconds": report.seconds,
                "events_per_second": round(report.events_per_second),
                "state_hash": report.state_hash,
                "divergence": report.divergence.to_data() if report.divergence else None,
            }
        )
    elif report.divergence is None:
        click.secho("✓ ", fg="green", nl=False)
        click.echo(
            f"{report.events} events replayed in {report.seconds * 1000:.2f} ms ({report.events_per_second:,.0f} events/s), "
            "every command as recorded"
        )
        click.echo(f"  state {report.state_hash}")
    else:
        click.echo(f"{click.style('✗ divergence', fg='red')}: {shown(str(report.divergence))}", err=True)
        for item in report.divergence.differences:
            click.echo(f"  {item['at'] or 'command'}: then {item['expected']!r}, now {item['actual']!r}", err=True)
    return 0 if report.ok else EXIT_DIVERGED


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@store_option
@tenant_option
def verify(run_id: str | None, store: str, tenant: str, as_json: bool) -> int:
    """Check the hash chains of one run, or of everything in the store."""
    from cloche.cli_output import print_json, shown
    from cloche.runtime import reading

    with _opened(store) as opened:
        report = reading.verify(opened, _key(run_id, tenant) if run_id else None)
    if as_json:
        print_json({"ok": report.ok, "runs": report.runs, "records": report.records, "findings": report.findings})
    elif report.ok:
        click.secho("✓ ", fg="green", nl=False)
        click.echo(f"{report.records} records of {report.runs} runs are what was written")
    for finding in [] if as_json else report.findings:
        where = f"run {shown(finding.run)}" if finding.run else "the store"
        number = f", record {finding.seq}" if finding.seq else ""
        click.echo(f"{click.style('✗', fg='red')} {where}{number}: {shown(finding.problem)}", err=True)
    return 0 if report.ok else EXIT_DIVERGED


# ---- helpers ----


@contextlib.contextmanager
def _opened(store: str) -> Iterator[SqliteStore]:
    """A store to look at; nobody's execution is disturbed."""
    from cloche.store import SqliteStore

    opened = SqliteStore(store, must_exist=True)
    try:
        yield opened
    finally:
        opened.close()


def _key(run_id: str, tenant: str) -> RunKey:
    from cloche.runtime.scheduler import default_key

    return default_key(run_id, tenant)


def _engine(name: str) -> CellSource:
    from cloche.engines import SandboxEngine

    return {"sandbox": SandboxEngine}[name]()


def _json_input(text: str) -> Any:
    from cloche.errors import InvalidInput

    source = "--input"
    if text == "-":
        text, source = sys.stdin.read(), "standard input"
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the input file {source} cannot be read: {error}", path="") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{source} is not JSON: {error}", path="") from error


if __name__ == "__main__":
    main()
