"""What is slow: where the time of one run went, and that of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import ask, command, store_option, tenant_option
from cloche.cli.operate import Moment
from cloche.text import duration

if TYPE_CHECKING:
    from cloche.operations.timing import Spread, StepStory, TopReport

NOT_SUCCESS = ("failed", "lost", "abandoned")


def print_stories(stories: Sequence[StepStory]) -> None:
    """Work, queue, retry wait and suspension of each step, with attempts that failed, and what was said, for people."""
    from cloche.cli.output import moment
    from cloche.text import shown

    if any(one.calls for one in stories):
        click.echo("time by step:")
    for one in stories:
        if one.calls:
            click.echo(f"  {shown(one.step)}  {_times(one)}")
        elif one.lines:
            click.echo("  the workflow")
        for attempt in one.attempts:
            if attempt.outcome in NOT_SUCCESS:
                click.echo(f"      attempt {_attempt(attempt)}")
        for line in one.lines:
            number = f" ({line.attempt})" if line.attempt > 1 else ""
            first, *rest = line.text.split("\n")
            click.echo(f"      {moment(line.at)[11:23]} {line.level:5}{number} {shown(first)}")
            for more in rest:
                click.echo(f"        {shown(more)}")
        if one.dropped:
            click.echo(f"      and {one.dropped} lines more, which were not kept")


def _times(one: StepStory) -> str:
    times = one.times
    parts = [f"work {duration(times.work_ms)}"]
    for name, ms in (("queue", times.queue_ms), ("retry wait", times.retry_wait_ms), ("suspended", times.suspended_ms)):
        if ms:
            parts.append(f"{name} {duration(ms)}")
    if one.calls > 1:
        parts.append(f"{one.calls} calls")
    if one.attempts_made > one.calls:
        parts.append(f"{one.attempts_made} attempts")
    return ", ".join(parts)


def _attempt(one: Any) -> str:
    from cloche.cli.output import moment
    from cloche.text import shown

    error = f" with {shown(one.error)}" if one.error else ""
    after = f" after {duration(one.work_ms)}" if one.ended_at is not None else ": its process ended"
    return f"{one.attempt}, {moment(one.started_at)[11:23]}: {one.outcome}{error}{after}"


@command
@click.option("--since", type=Moment(), help="Runs that last moved at this time or later: 2h (ago), or ISO 8601.")
@click.option("--until", type=Moment(), help="Runs that last moved at this time or earlier.")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--runs", "runs_max", default=2000, show_default=True, type=click.IntRange(1, 2000), help="Read so many.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Show so many steps.")
@click.option("--all-tenants", is_flag=True, help="Runs of all tenants.")
@store_option
@tenant_option
def top(store: str, tenant: str, limit: int, as_json: bool, **options: Any) -> None:
    """What is slow: work, queue, retry wait and suspension of each step, and steps that work far longer than they usually do.

    The times are the middle one, that which 95 in 100 do not exceed, and the longest, of the calls in the newest runs.

    \b
    Examples:
      cloche top --since 1h
      cloche top --workflow order --json
    """
    from cloche.cli.output import print_json

    report = ask(store, tenant, lambda client: client.top(**options))
    if as_json:
        print_json(report.to_data())
    else:
        _print_top(report, limit)


def _print_top(report: TopReport, limit: int) -> None:
    from cloche.cli.output import moment
    from cloche.text import shown

    if not report.steps:
        click.echo(f"no steps were called in the {report.runs} runs that were read", err=True)
        return
    shows = report.steps[:limit]
    width = max(len(shown(f"{one.workflow} {one.step}")) for one in shows)
    click.echo(
        f"{'':{width}}  {'calls':>7}  {'work p50 / p95 / max':<28}  {'queue p95':<12}  {'retry wait p95':<14}  suspended p95"
    )
    for one in shows:
        calls = f"{one.count + one.open}"
        waits = f"{_p95(one.queue):<12}  {_p95(one.retry_wait):<14}  {_p95(one.suspended)}".rstrip()
        click.echo(f"{shown(f'{one.workflow} {one.step}'):{width}}  {calls:>7}  {_spread(one.work):<28}  {waits}")
    for late in report.overdue:
        click.echo(
            f"far longer than usual: {shown(late.step)} of run {shown(late.run_id)} works for {duration(late.worked_ms)}, "
            f"since {moment(late.since)}; usually {duration(late.usually_ms)}"
        )
    if len(report.steps) > limit:
        click.echo(f"and {len(report.steps) - limit} steps more: --limit", err=True)
    more = "" if report.is_whole else ", the newest; there are more: narrow it with --since or --workflow"
    click.echo(f"of {report.runs} runs{more}", err=True)


def _spread(one: Spread) -> str:
    return " / ".join(map(duration, (one.p50, one.p95, one.max)))


def _p95(one: Spread) -> str:
    return duration(one.p95) if one.p95 else "-"
