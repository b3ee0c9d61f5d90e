"""Commands that execute runs: `run` and `worker`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cloche.cli.base import (
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_NOT_ENDED,
    command,
    json_input,
    node_steps_option,
    own_store_option,
    say,
    steps_option,
    target_argument,
    tell_of_compiling,
    tenant_option,
)
from cloche.cli.logs import log_options, set_up
from cloche.cli.sending import WORKER_LOOK_S, reach_of, sending, sending_options
from cloche.cli.telemetry import made_metrics, serve_metrics, telemetry_options, watching
from cloche.status import FINAL, RESTING, RunStatus

if TYPE_CHECKING:
    from cloche import RunResult
    from cloche.client import Cloche, Run, RunRow, Workflow
    from cloche.engines import CellSource
    from cloche.history.ids import RunKey

isolation_option = click.option(
    "--isolation",
    type=click.Choice(["thread", "process"]),
    default="thread",
    show_default=True,
    help="Where cells live: in threads of this process, or a locked process for each tenant.",
)
drain_option = click.option(
    "--drain",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds that running steps may take to end after Ctrl-C or SIGTERM.",
)
_OF_AN_APP = ("store", "tenant", "engine", "isolation", "drain", "node_steps")  # what a `Cloche` says itself
UNFINISHED = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.SUSPENDED, RunStatus.PAUSED, RunStatus.BLOCKED)
WAITS_S = 2.0  # so long nothing is said of what a run waits for
OTHERS_NAMED = 5
ONCE_WAITS_MS = 60_000  # for timers, when a worker is to end by itself
UNREADABLE = ("divergence", "broken-chain", "history")


@command
@target_argument()
@click.option("--input", "input_text", default="null", help="JSON, @file, or - for standard input.")
@own_store_option
@click.option("--run-id", help="The run's id; starting the same id with the same input again gives that run.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="The run is found by it; may be repeated.")
@click.option("--deadline", help="By when it must have ended: seconds from now, '8 hours', or an instant as RFC 3339.")
@click.option("--engine", type=click.Choice(["sandbox", "direct"]), default="sandbox", show_default=True)
@isolation_option
@drain_option
@steps_option
@node_steps_option
@tenant_option
def run(
    target: str,
    input_text: str,
    store: str,
    run_id: str | None,
    tags: tuple[str, ...],
    deadline: str | None,
    engine: str,
    isolation: str,
    drain: float,
    steps: str | None,
    node_steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Start a run of TARGET and follow it to its end.

    Ctrl-C leaves a run that `cloche worker` goes on with, once the step that runs has ended; a second one does not wait.

    \b
    Example:
      cloche run orders.py:order --input @order.json --run-id order-1 --store postgresql://app@db/cloche
      cloche run flow.ts:onboarding --steps steps.py --input '[{"id": "o-1"}]'
    """
    from cloche.cli.leaving import Leaving, run_to_end
    from cloche.cli.operate import tags_of
    from cloche.cli.targets import find_runnable, workflow_of
    from cloche.operations import stores

    tell_of_compiling()
    found = find_runnable([target], steps)
    workflow, value = workflow_of(found[0], target), json_input(input_text, "--input")
    app = app_of(found, store, tenant, engine_of(engine, isolation), drain, node_steps)

    async def whole(leaving: Leaving) -> tuple[str, RunResult | None]:
        async with app:
            leaving.watch(app)
            others, before = await app.moved(), await _stood(app, run_id)
            ends = deadline_of(deadline)
            started = await app.start(workflow, value, run_id=run_id, tags=tags_of(tags), deadline=ends)
            _say_begun(started.id, before, others, quiet=as_json or run_id is not None)
            return started.id, await _followed(app, started, leaving.asked, quiet=as_json)

    where = "" if app in found else f" --store {stores.shown(store)}"
    return run_to_end(whole, app.drain_timeout_s, lambda came: _tell(*came, target, where, as_json))


async def _stood(app: Cloche, run_id: str | None) -> str | None:
    """How the run stands that is to be started; None: there is none of that id."""
    from cloche.errors import NotFound

    try:
        return None if run_id is None else await (await app.get(run_id)).status()
    except NotFound:
        return None


def _say_begun(run: str, before: str | None, others: Sequence[RunRow], *, quiet: bool) -> None:
    """Which run is followed, and what this process does beside it: on standard error. `quiet`: only what is unexpected, and not
    the name of a new run, which whoever has given it knows."""
    from cloche.text import shown

    others = [row for row in others if row.key.run != run]
    if before in FINAL:
        say(f"run {shown(run)} has ended already ({before}): nothing ran now; another --run-id begins a new one")
    elif before is not None:
        say(f"run {shown(run)} is there already: {before}")
    elif not quiet:
        say(f"run {shown(run)}")
    if others:
        named = ", ".join(row.id for row in others[:OTHERS_NAMED]) + (" …" if len(others) > OTHERS_NAMED else "")
        what = "1 open run" if len(others) == 1 else f"{len(others)} open runs"
        say(f"this process goes on with {what} of the store as well: {named}")


def deadline_of(text: str | None) -> float | str | None:
    """Seconds are written as a number."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def app_of(
    found: Sequence[Workflow | Cloche],
    store: str,
    tenant: str,
    engine: CellSource,
    drain: float,
    node_steps: str | None = None,
) -> Cloche:
    """What executes the workflows that targets name; a `Cloche` among them is it itself, as it was made.

    Raises:
        UsageError: it is not the only target, or an option says what it says itself.
    """
    from cloche import Cloche
    from cloche.errors import UsageError
    from cloche.operations.stores import is_server

    workflows: list[Any] = [one for one in found if not isinstance(one, Cloche)]
    if len(workflows) == len(found):
        if is_server(store):
            raise UsageError(
                f"{store} is a server, which executes its runs itself: start one there with POST "
                "/v1/workflows/WORKFLOW/runs, or give the store itself, where that is"
            )
        return Cloche(
            store,
            workflows=workflows,
            steps=further_steps(node_steps),
            tenant=tenant,
            engine=engine,
            drain_timeout_s=drain,
            handle_sigterm=False,
        )
    if len(found) > 1:
        raise UsageError("a target that is a Cloche stands alone: it says itself which workflows it has")
    context = click.get_current_context()
    own = [name for name in _OF_AN_APP if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if own:
        raise UsageError(
            f"--{own[0].replace('_', '-')} says what the target, a Cloche, says itself: leave it out, or name a workflow"
        )
    [app] = found
    assert isinstance(app, Cloche)
    return app


def further_steps(node_steps: str | None) -> list[Any]:
    """Those of a JavaScript file, if one is named."""
    if node_steps is None:
        return []
    from cloche import NodeSteps

    return [NodeSteps(node_steps)]


def _tell(id: str, result: RunResult | None, target: str, where: str, as_json: bool) -> int:
    """Print what came of the run, or how it goes on; the exit code. `where` is the option that names the store."""
    from cloche.cli.output import print_json

    if result is None:
        if as_json:
            print_json({"run_id": id, "status": RunStatus.RUNNING})
        click.echo(f"interrupted: run {id} goes on with 'cloche worker {target}{where}'", err=True)
        return EXIT_NOT_ENDED
    code = _finish(result, as_json)
    if result.status == RunStatus.SUSPENDED and not as_json:
        click.echo(f"to go on: cloche resume {id} --data JSON{where}, and cloche worker {target}", err=True)
    if result.waiting_for and result.status == RunStatus.WAITING and not as_json:
        from cloche.operations.replay import waiting_for

        click.echo(waiting_for(result.waiting_for), err=True)
    return code


async def _followed(app: Cloche, run: Run, stop: asyncio.Event, *, quiet: bool) -> RunResult | None:
    """Print what happens until the run ends; None when the user or the system asked us to leave."""
    follow = None if quiet else _show_progress(run) if sys.stderr.isatty() else _say_waits(app, run)
    show = asyncio.create_task(follow) if follow is not None else None
    result, left = asyncio.create_task(run.result()), asyncio.create_task(stop.wait())
    await asyncio.wait({result, left}, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    if show is not None:
        if result.done() and sys.stderr.isatty():
            await show
        show.cancel()
    if not result.done():
        result.cancel()
        return None
    return result.result()


async def _say_waits(app: Cloche, run: Run) -> None:
    """Where nobody watches a terminal: each thing that the run waits for, when that has lasted for some seconds."""
    from cloche.cli.output import moment
    from cloche.errors import ClocheError
    from cloche.text import shown

    said = None
    while True:
        await asyncio.sleep(WAITS_S)
        try:
            reason = await app.why(run.id)
        except ClocheError:  # it is about to end, or the store does not answer: that is told elsewhere
            continue
        if reason.kind in ("timer", "retry", "event", "child", "queued") and (reason.kind, reason.since) != said:
            said = reason.kind, reason.since
            until = f", until {moment(reason.until)}" if reason.until is not None else ""
            say(f"run {shown(run.id)} waits: {shown(reason.sentence)}{until}")


async def _show_progress(run: Run) -> None:
    from cloche.cli.output import record_line

    async for record in run.stream():
        if record.kind.name not in ("RUN_CREATED", "ATTEMPT_STARTED", "ATTEMPT_SENT"):
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
@target_argument("targets", nargs=-1, required=True)
@own_store_option
@click.option(
    "--once",
    is_flag=True,
    help="End when nothing is left to do: what waits for somebody, or for a time more than a minute away, is left.",
)
@click.option("--metrics", metavar="[HOST:]PORT", help="Where Prometheus reads the metrics of this worker.")
@sending_options
@telemetry_options
@isolation_option
@drain_option
@log_options
@steps_option
@node_steps_option
@tenant_option
def worker(
    targets: tuple[str, ...],
    store: str,
    once: bool,
    metrics: str | None,
    webhook_hosts: tuple[str, ...],
    to_loopback: bool,
    no_webhooks: bool,
    metrics_of_tenants: int,
    isolation: str,
    drain: float,
    log_format: str,
    verbose: int,
    steps: str | None,
    node_steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Recover and continue the unfinished runs of a store, and wait for more. Several workers share a store.

    The TARGETs bring the steps; each run goes on under the code it began with. It sends webhooks, too.
    SIGTERM and Ctrl-C drain: running steps end and are recorded. A second one does not wait.

    \b
    Example:
      cloche worker orders.py:order --store orders.db
      cloche worker app.py:app --once --log-format json -v
    """
    from cloche.cli.leaving import Leaving, run_to_end
    from cloche.cli.targets import find_runnable

    found, reach = find_runnable(targets, steps), reach_of(webhook_hosts, to_loopback, no_webhooks or once)
    set_up(log_format, verbose)
    app = app_of(found, store, tenant, engine_of("sandbox", isolation), drain, node_steps)
    app.observers += watching()
    _show_metrics(app, store, metrics, metrics_of_tenants)

    async def whole(leaving: Leaving) -> int:
        async with app, sending(app, reach, look_s=WORKER_LOOK_S):
            leaving.watch(app)
            taken = await app.moved()  # from here on they are counted: one may end before the first look
            await app.prewarm()
            return await _work(app, leaving.asked, taken, once=once, as_json=as_json)

    return run_to_end(whole, app.drain_timeout_s, lambda code: code)


def _show_metrics(app: Cloche, store: str, address: str | None, of_tenants: int) -> None:
    if address is not None:
        app.observers.append(made := made_metrics(store, of_tenants))
        serve_metrics(made, address)


async def _work(app: Cloche, stop: asyncio.Event, taken: Sequence[RunRow], *, once: bool, as_json: bool) -> int:
    """Say what moves here, until we are asked to leave or there is nothing left. Never looks at runs that rest."""
    from cloche.cli.settling import keep_what_is_loaded

    if not once:
        keep_what_is_loaded()
    last: dict[RunKey, str] = {}
    has_moved = False
    idle = _Idle(quiet=once or as_json)
    while True:
        await idle.look(app)
        done = stop.is_set() or (once and app.is_idle and _is_far(await app.next_due()))
        for row in [*taken, *await app.moved()]:
            has_moved = True
            if last.get(row.key) != row.status:
                _say_moved(row, as_json)
            if row.status in RESTING:
                last.pop(row.key, None)
            else:
                last[row.key] = row.status
        taken = ()
        if done:
            if not once:
                say("this worker has ended; what is open goes on with the next one")
            elif not has_moved and not as_json:
                say("nothing to do: no run of this store can move now")
            return await _exit_code_of_all(app) if once else 0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)


def _is_far(due: int | None) -> bool:
    from cloche.operations.stores import now

    return due is None or due > now() + ONCE_WAITS_MS


class _Idle:
    """Says once that there is nothing to do, and what would end that, after a second in which nothing moved."""

    _LOOKS = 5  # at 0.2 s each

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._looks = 0

    async def look(self, app: Cloche) -> None:
        self._looks = self._looks + 1 if app.is_idle else 0
        if self._quiet or self._looks != self._LOOKS:
            return
        from cloche.cli.output import moment

        due = await app.next_due()
        timer = f"; the next timer is due at {moment(due)}" if due is not None else ""
        click.secho(
            f"idle: waiting for starts, events and resumes{timer} (Ctrl-C ends this worker)", dim=True, err=True
        )


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


def engine_of(name: str, isolation: str) -> CellSource:
    from cloche.engines import DirectEngine, ProcessEngine, SandboxEngine
    from cloche.errors import UsageError

    if name == "direct":
        if isolation == "process":
            raise UsageError("--isolation process is for --engine sandbox: the direct engine isolates nothing")
        return DirectEngine()
    return ProcessEngine() if isolation == "process" else SandboxEngine()
