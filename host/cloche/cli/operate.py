"""Commands for many runs: what fails, going on from there, and the same done to all that a filter gives."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cloche.cli.base import EXIT_FAILED, ask, command, json_input, store_option, tenant_option, user
from cloche.status import RunStatus

if TYPE_CHECKING:
    from cloche.client import Client
    from cloche.client.sought import RunQuery
    from cloche.operations.bulk import BulkReport

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"(\d{1,9})([smhd])")


class Moment(click.ParamType[int]):
    """A time: `2h` ago, or as ISO 8601; in ms since 1970."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from datetime import UTC, datetime

        if isinstance(value, int):
            return value
        if (ago := _AGO.fullmatch(value)) is not None:
            return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write 30s, 10m, 2h, 1d, or 2026-11-29T10:00", param, ctx)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def filters(function: F) -> F:
    """The options that say which runs are meant."""
    options = (
        click.option(
            "--status",
            "statuses",
            multiple=True,
            type=click.Choice([str(one) for one in RunStatus]),
            help="Only runs with this status; may be repeated: any of them.",
        ),
        click.option("--workflow", help="Only runs of this workflow."),
        click.option("--version", help="Only runs of this deployed version."),
        click.option("--since", type=Moment(), help="Last moved at this time or later: 2h (ago), or ISO 8601."),
        click.option("--until", type=Moment(), help="Last moved at this time or earlier."),
        click.option("--age", metavar="TIME", help="Has stood as it stands for so long: 30m, 2h, 7d."),
        click.option("--error", help="Failed with an error of this name."),
        click.option("--step", "failed_step", help="Failed at this step."),
        click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="With this tag; may be repeated."),
        click.option("--text", help="With this text in input, result or error."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def query_of(given: dict[str, Any]) -> tuple[RunQuery, str | None]:
    """What the options say, and the text that is looked for; they are taken out of `given`."""
    names = ("workflow", "version", "since", "until", "error")
    query: dict[str, Any] = {name: given.pop(name) for name in names}
    query |= {
        "status": list(given.pop("statuses")),
        "step": given.pop("failed_step"),
        "tags": tags_of(given.pop("tags")),
    }
    if (age := given.pop("age")) is not None:
        from cloche.cli.store import milliseconds

        query["age"] = milliseconds(age, "--age") / 1000
    text: str | None = given.pop("text")
    found: Any = {name: value for name, value in query.items() if value}
    return found, text


def tags_of(given: tuple[str, ...]) -> dict[str, str]:
    """
    Raises:
        UsageError: one is not NAME=VALUE.
    """
    from cloche.errors import UsageError

    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UsageError(f"--tag: '{wrong[0]}' is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


dry_run_option = click.option("--dry-run", is_flag=True, help="Count the runs and show five; do nothing.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@filters
@click.option("--onto", metavar="WORKFLOW", help="Go on under today's code of this workflow, or a version of it.")
@click.option("--from-step", metavar="PATH", help="Make the last call of this step again, and leave out what followed.")
@click.option("--even-at-most-once", is_flag=True, help="Also a step that must not run twice, and may have run.")
@click.option("--even-after-clean-up", is_flag=True, help="Also a run that has cleaned up after its failure.")
@dry_run_option
@yes_option
@store_option
@tenant_option
def retry(run_id: str | None, dry_run: bool, yes: bool, store: str, tenant: str, as_json: bool, **given: Any) -> int:
    """Go on from where a RUN failed, in a new run; or all runs that the options give.

    Steps that completed are not run again; what failed is called again under its old idempotency key. The old run stays.

    \b
    Examples:
      cloche retry order-1
      cloche retry --status failed --since 1d --step charge --dry-run
    """
    from cloche.cli.output import pasted, print_json
    from cloche.errors import UsageError
    from cloche.text import for_shell, shown

    query, text = query_of(given)  # the rest of what is given is how it is retried
    if run_id is None:
        options = {"even_at_most_once": given.pop("even_at_most_once")}
        if any(given.values()):
            raise UsageError("--onto, --from-step and --even-after-clean-up are for one RUN")
        return _many(store, tenant, "retry", query, text, dry_run=dry_run, yes=yes, as_json=as_json, **options)
    _check_single(query, text, dry_run=dry_run)

    async def go_on(client: Client) -> tuple[str, str]:
        run = await client.retry(run_id, by=user(), **given)
        return run.id, await run.status()

    new, status = ask(store, tenant, go_on)
    if as_json:
        print_json({"run_id": new, "retry_of": run_id, "status": status})
    else:
        hint = f"'cloche show {for_shell(shown(new))}' says how it stands"
        click.echo(f"{shown(new)} goes on from {shown(run_id)}; {pasted(store, tenant)(hint)}")
    return 0


@command
@click.argument("action", type=click.Choice(["cancel", "retry", "resume", "event", "upgrade", "delete"]))
@filters
@click.option("--data", default="null", help="What resume or event carries: JSON, @file, or - for standard input.")
@click.option("--event", "event_name", metavar="NAME", help="The name of the event.")
@click.option("--resume-step", metavar="PATH", help="Which suspended step is resumed, where there are several.")
@click.option("--onto", metavar="TARGET", help="Of upgrade: whose code of today the runs go on under.")
@click.option("--key", help="The same KEY again goes on where it was cut off: nothing is given twice.")
@dry_run_option
@yes_option
@store_option
@tenant_option
def bulk(
    action: str,
    data: str,
    event_name: str | None,
    resume_step: str | None,
    onto: str | None,
    key: str | None,
    dry_run: bool,
    yes: bool,
    store: str,
    tenant: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Do ACTION to all runs that the options give: they are counted and shown first.

    A run that it fails on is listed, and the others go on. Cut off and begun again, it does the rest.

    \b
    Examples:
      cloche bulk cancel --status waiting --until 7d --dry-run
      cloche bulk event --tag customer=c-17 --event paid --data '{"amount": 3}' --yes
      cloche bulk upgrade --status suspended --onto orders.py:order --dry-run
    """
    query, text = query_of(given)
    if (action == "upgrade") is (onto is None):
        raise click.UsageError("--onto TARGET goes with upgrade: whose code of today the runs go on under")
    if onto is not None:
        from cloche.cli.deploy import upgrade_many

        do = upgrade_many(store, tenant, onto, query, text)
        return _counted(action, do, query, text, dry_run=dry_run, yes=yes, as_json=as_json)
    options: dict[str, Any] = {"event": event_name, "step": resume_step, "bulk_id": key}
    if action in ("resume", "event"):
        options["data"] = json_input(data, "--data")
    return _many(store, tenant, action, query, text, dry_run=dry_run, yes=yes, as_json=as_json, **options)


@command
@store_option
@click.option("--since", type=Moment(), help="Failed at this time or later: 1d (ago), or ISO 8601.")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--group-by", default="error,step", show_default=True, help="error,step or error,step,workflow.")
@click.option("--all-tenants", is_flag=True, help="Of all tenants.")
@tenant_option
def failures(
    store: str,
    since: int | None,
    workflow: str | None,
    group_by: str,
    all_tenants: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Show what failed and was not retried: by error and step, how often, since when, with an example.

    \b
    Example:
      cloche failures --since 1d
    """
    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    options: dict[str, Any] = {"since": since, "workflow": workflow, "all_tenants": all_tenants}
    groups = ask(store, tenant, lambda client: client.failures(group_by=group_by.split(","), **options))
    if not groups:
        click.echo("nothing has failed that was not retried", err=True)
    for one in groups:
        if as_json:
            print_json(
                {
                    "tenant": one.tenant,
                    "workflow": one.workflow,
                    "error": one.error,
                    "step": one.step,
                    "count": one.count,
                    "first": moment(one.first),
                    "last": moment(one.last),
                    "example": one.example.run,
                }
            )
            continue
        named = " ".join(
            part for part in (one.workflow, one.error or "?", f"at {one.step}" if one.step else "") if part
        )
        example = f"first {moment(one.first)}  last {moment(one.last)}  e.g. {shown(one.example.run)}"
        click.echo(f"{one.count:>7}  {shown(named):40}  {example}")


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        return False


def _check_single(query: Any, text: str | None, *, dry_run: bool) -> None:
    from cloche.errors import UsageError

    if query or text is not None or dry_run:
        raise UsageError("give a RUN, or options that say which runs are meant, not both")


def _many(
    store: str,
    tenant: str,
    action: str,
    query: RunQuery,
    text: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Do it with a client of the store."""
    asked: dict[str, Any] = {"text": text, "where": query, **options}

    def do(is_dry: bool) -> BulkReport:
        by = "" if is_dry else user()
        return ask(store, tenant, lambda client: client.bulk(action, dry_run=is_dry, by=by, **asked))

    return _counted(action, do, query, text, dry_run=dry_run, yes=yes, as_json=as_json)


def _counted(
    action: str,
    do: Callable[[bool], BulkReport],
    query: RunQuery,
    text: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Count, show, ask and do; `do` is told whether to count alone."""
    from cloche.cli.output import print_json
    from cloche.errors import UsageError
    from cloche.text import shown

    if not query and text is None:
        raise UsageError("say which runs are meant: --status, --tag, --error, --since …; see --help")
    report = do(True)
    if not as_json:
        examples = f": {', '.join(map(shown, report.first))}{' …' if report.matched > len(report.first) else ''}"
        click.echo(f"{action}: {report.matched} runs{examples if report.first else ''}")
    if not dry_run and report.matched:
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("nobody is there to ask: give --yes, or --dry-run to count alone")
            if not _confirmed(f"{action} {report.matched} runs?"):
                return EXIT_FAILED
        report = do(False)
        if not as_json:
            _say_done(action, report)
    if as_json:
        print_json(report.to_data())
    return 0 if report.ok else EXIT_FAILED


def _say_done(action: str, report: BulkReport) -> None:
    from cloche.text import shown

    click.echo(f"{action}: done to {report.done} runs, failed on {len(report.failed)}")
    for run, message in report.failed:
        click.echo(f"  {shown(run)}: {shown(message)}", err=True)
    for run in report.made:
        click.echo(shown(run))
