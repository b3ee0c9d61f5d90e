"""What the command line prints: lines for people, JSON for programs, and nothing a guest wrote that a terminal would obey."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from cloche.operations.forms import LAST_MS, to_json
from cloche.status import RunStatus
from cloche.text import ID_SEPARATOR, for_shell, shown

if TYPE_CHECKING:
    from cloche import RunResult, StepResult
    from cloche.client import RunRow
    from cloche.history import Record
    from cloche.operations.start_requests import NotBegun
    from cloche.operations.why import Why

MARKS = {"success": ("✓", "green"), "failed": ("✗", "red"), "canceled": ("■", "yellow"), "blocked": ("!", "red")}
VALUE_CHARS_MAX = 300
_QUOTED = re.compile(r"'(cloche (?:resume|event|cancel|retry|show|worker|upgrade)\b[^']*)'")  # a command in a sentence
_OF_TENANTS = ("audit", "resume", "event", "cancel", "retry", "show")
WIDE_CHARS = 120  # from here on a line has room for long paths


def as_json(value: Any) -> str:
    """One line of JSON (`operations.forms`), fit for a terminal: what it would obey is written as `\\u…`."""
    text = to_json(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


_SHOWN_IDS = {"run_id": "shown_id", "run": "shown_run", "example": "shown_example", "retry_of": "shown_retry_of"}


def print_json(value: Any) -> None:
    """Where the id of a run is one that the system has given, the object has it also as it is shown, and may be typed."""
    if isinstance(value, dict):
        derived = {
            name: id for name, id in value.items() if name in _SHOWN_IDS and isinstance(id, str) and ID_SEPARATOR in id
        }
        value = {**value, **{_SHOWN_IDS[name]: shown(id) for name, id in derived.items()}}
    click.echo(as_json(value))


def short(value: Any) -> str:
    """A value on one line of a table."""
    text = as_json(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def moment(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    if time_ms > LAST_MS:  # a workflow may sleep for as long as it likes
        return "after the year 9999"
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")


def print_result(result: RunResult) -> None:
    """The end of a run, for people: status, result or error."""
    mark, color = MARKS.get(result.status, ("…", "cyan"))
    click.secho(f"{mark} run {shown(result.run_id)} {result.status}", fg=color, err=True)
    if result.status == RunStatus.SUCCESS:
        click.echo(as_json(result.result))
    if result.error is not None:
        where = f" (step {shown(result.error.step)})" if result.error.step else ""
        click.echo(f"error: {shown(str(result.error))}{where}", err=True)
        if result.error.traceback:
            click.echo(result.error.traceback, err=True, nl=False)
    if result.blocked is not None:
        click.echo(f"blocked: {shown(result.blocked['message'])}", err=True)
        click.echo(f"to do: {shown(result.blocked['what_to_do'])}", err=True)


def pasted(store: str, tenant: str) -> Callable[[str], str]:
    """What makes commands in a text fit to be pasted: with `--store`, where the environment does not say it, and the tenant."""
    from click.core import ParameterSource

    from cloche.operations import stores

    source = click.get_current_context().get_parameter_source("store")
    where = f" --store {quote(stores.shown(store))}" if source is ParameterSource.COMMANDLINE else ""

    def whole(command: str) -> str:
        whose = f" --tenant {for_shell(tenant)}" if tenant != "default" and command.split()[1] in _OF_TENANTS else ""
        return f"{command}{'' if '--tenant' in command else whose}{where}"

    def paste(text: str) -> str:
        return whole(text) if text.startswith("cloche ") else _QUOTED.sub(lambda found: f"'{whole(found[1])}'", text)

    return paste


def print_reason(reason: Why) -> None:
    """What is known of why a run does not move, for people: when, which attempt, the error, what was asked, what moves it."""
    if reason.tags:
        click.echo(f"tags: {', '.join(f'{shown(name)}={shown(value)}' for name, value in reason.tags.items())}")
    if reason.retry_of is not None:
        click.echo(f"goes on from {shown(reason.retry_of)}")
    for run in reason.retried_as:
        click.echo(f"retried as {shown(run)}")
    if reason.since is not None and reason.kind != "ended":
        until = f", until {moment(reason.until)}" if reason.until is not None else ""
        click.echo(f"since {moment(reason.since)}{until}")
    if reason.last_error is not None and reason.kind != "ended":
        of = f" of {reason.attempts_max}" if reason.attempts_max is not None else ""
        attempt = f" (attempt {reason.attempt}{of})" if reason.attempt is not None else ""
        said = f"{reason.last_error['name']}: {reason.last_error['message']}"
        click.echo(f"last error of {shown(reason.step or '')}{attempt}: {shown(said)}")
    for one in reason.asked:
        if one.payload is not None:
            click.echo(f"{shown(one.step)} asks: {short(one.payload)}")
        if one.schema is not None:
            click.echo(f"{shown(one.event or one.step)} takes: {short(one.schema)}")
    if reason.refused is not None:
        click.echo(f"last answer refused: {shown(reason.refused)}")
    for action in reason.actions:
        if action.name != "delete":  # nobody looks for that here
            click.echo(f"  {action.description}: {shown(action.command or action.call)}")


def print_steps(steps: dict[str, StepResult], *, is_driven: bool = False) -> None:
    """`is_driven`: a worker has the run just now, so that a step that runs is at work."""
    width = max((len(name) for name in steps), default=0)
    for name, step in steps.items():
        mark, color = MARKS.get(step.status, ("…", "cyan"))
        took = ""
        if step.started_at and step.ended_at:
            took = f"{(step.ended_at - step.started_at).total_seconds() * 1000:,.0f} ms"
        elif step.started_at and step.status == RunStatus.RUNNING and is_driven:
            took = f"for {(datetime.now(UTC) - step.started_at).total_seconds():,.1f} s"
        tries = f"  {step.attempts} attempts" if step.attempts > 1 else ""
        value = (
            shown(str(step.error))
            if step.error
            else short(step.output)
            if step.status == RunStatus.SUCCESS
            else step.status
        )
        click.secho(f"  {mark} ", fg=color, nl=False)
        click.echo(f"{shown(name):{width}}  {took:>10}{tries}  {value}")


def record_data(record: Record) -> dict[str, Any]:
    """A record for JSON: the envelope, the body as it is stored, and `message`: what that says, by name."""
    from cloche.client.records import RunRecord, by_name
    from cloche.history.reading import message_of

    message = record.message if isinstance(record, RunRecord) else message_of(record)
    return {
        "seq": record.seq,
        "kind": record.kind.name.lower(),
        "time": moment(record.time),
        "call": record.call,
        "path": record.path,
        "body": record.content(),
        "message": by_name(message),
        "hash": record.hash.hex(),
    }


def line_chars_max() -> int | None:
    """The width of the terminal; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def record_line(record: Record, *, color: bool = True, chars_max: int | None = None) -> str:
    """A record on one line: number, time, kind, path, and what it holds, cut to `chars_max` characters."""
    kind = record.kind.name.lower().replace("_", " ")
    clock = moment(record.time)[11:23]
    path = shown(record.path or "")
    number = click.style(f"{record.seq:>5}", dim=True) if color else f"{record.seq:>5}"
    value = short(_gist(record))
    width = 24 if chars_max is None or chars_max >= WIDE_CHARS else 14
    rest = f"  {clock}  {kind:16} {path:{width}} {value}".rstrip()
    if chars_max is not None and 5 + len(rest) > chars_max:
        rest = rest[: max(chars_max - 6, 0)] + "…"
    return number + rest


def _gist(record: Record) -> Any:
    """The part of a body that a reader looks for."""
    from cloche.client.records import RunRecord, by_name
    from cloche.history import messages, notes
    from cloche.history.reading import message_of

    match record.message if isinstance(record, RunRecord) else message_of(record):
        case messages.Started(input=value):
            return value
        case messages.CallStep(arguments=arguments):
            return arguments[0] if len(arguments) == 1 else arguments
        case messages.StepCompleted(value=value) | messages.Enter(value=value) | messages.CompleteRun(value=value):
            return value
        case messages.StepFailed(failure=failure) | messages.FailRun(failure) | notes.AttemptFailed(failure=failure):
            return failure.to_wire()
        case messages.StartChild(workflow=workflow, input=value):
            return [workflow, value]
        case messages.ChildEnded(outcome=[_, value]):
            return value
        case messages.SetTimer(due=due):
            return f"due {moment(due)}"
        case messages.TimerFired() | messages.AbandonCall() | notes.RunCanceled():
            return ""
        case messages.Leave(outcome=outcome):
            return outcome
        case messages.WriteLog(text=text) | messages.CancelRequested(reason=text):
            return text
        case notes.StepLogged(lines=lines, dropped=dropped):
            return " | ".join([*(text for _, text in lines), *([f"and {dropped} more"] if dropped else [])])
        case message:
            content = record.content()
            return by_name(message) if isinstance(content, list) else content  # a list says nothing to people


def not_begun_data(one: NotBegun) -> dict[str, Any]:
    """As `row_data`, of a run that no worker has begun; `why` is a sentence for people."""
    asked = moment(one.since)
    return {
        "run_id": one.key.run,
        "tenant": one.key.tenant,
        "workflow": one.workflow,
        "status": RunStatus.PENDING,
        "records": 0,
        "created_at": asked,
        "updated_at": asked,
        "wake_at": None,
        "blocked": None,
        "why": one.sentence,
    }


def row_data(row: RunRow) -> dict[str, Any]:
    problem = json.loads(row.problem) if row.problem else None
    return {
        "run_id": row.key.run,
        "tenant": row.key.tenant,
        "workflow": row.workflow,
        "status": row.status,
        "records": row.head_seq,
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "wake_at": moment(row.wake_at) or None,
        "blocked": problem,
    }
