"""Commands that check and carry: replay, verify, export, import, backup, prune."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import (
    EXIT_DIVERGED,
    ask,
    code_of,
    command,
    key_of,
    look,
    opened_file,
    own_store_option,
    read_file,
    steps_option,
    store_option,
    target_argument,
    tenant_option,
    user,
)

if TYPE_CHECKING:
    from cloche.client import RunRow
    from cloche.errors import ClocheError
    from cloche.history.ids import RunKey
    from cloche.operations.export_all import Moved
    from cloche.operations.replay import ReplayReport, VerifyReport
    from cloche.operations.stores import Collected, Finding, Store

PROGRESS_EVERY_S = 1.0


@command
@click.argument("run_id", metavar="RUN")
@own_store_option
@click.option("--with", "target", metavar="TARGET", help="Replay on today's code of TARGET, not on the run's own.")
@steps_option
@tenant_option
def replay(run_id: str, store: str, target: str | None, steps: str | None, tenant: str, as_json: bool) -> int:
    """Feed a run's history to a fresh guest and compare every command.

    \b
    Example:
      cloche replay order-1 --with orders.py:order
    """
    from cloche.cli.targets import find_workflow
    from cloche.engines import SandboxEngine
    from cloche.operations import replay
    from cloche.run.code import code_of

    engine = SandboxEngine()
    code = code_of(find_workflow(target, steps), engine) if target else None
    report = look(store, lambda found: replay.replay(found, key_of(run_id, tenant), engine, code))
    _show_replay(report, run_id, as_json)
    return 0 if report.ok else EXIT_DIVERGED


def _show_replay(report: ReplayReport, run_id: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

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
                "fuel": report.fuel,
                "fuel_recorded": report.fuel_recorded,
            }
        )
    elif report.fuel_differs:
        what = f"the commands are those recorded, and they burnt {report.fuel:,} of fuel, not {report.fuel_recorded:,}"
        click.echo(f"{click.style('✗ fuel', fg='red')}: {what}: what is billed, or the guest, was changed", err=True)
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


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--deep", is_flag=True, help="Replay too, and compare the states that checkpoints hold.")
@click.option("--heads", metavar="FILE", help="Compare with heads that 'cloche sign' wrote; needs --public-key.")
@click.option("--public-key", metavar="FILE", help="The key that the heads were signed with, as PEM.")
@own_store_option
@tenant_option
def verify(
    run_id: str | None, deep: bool, heads: str | None, public_key: str | None, store: str, tenant: str, as_json: bool
) -> int:
    """Check the hash chains of one run, or of everything in the store.

    \b
    Example:
      cloche verify --deep --store orders.db
    """
    from cloche.cli.output import print_json
    from cloche.operations import replay
    from cloche.text import shown

    key = key_of(run_id, tenant) if run_id else None

    async def check(found: Store) -> VerifyReport:
        report = await replay.verify(found, key)
        if deep and report.ok:
            report = replace(report, findings=await _deep_findings(found, key))
        if heads is not None:
            report = replace(report, findings=[*report.findings, *await _unlike_heads(found, heads, public_key)])
        return report

    report = look(store, check)
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


async def _unlike_heads(store: Store, heads: str, public_key: str | None) -> list[Finding]:
    from cloche.errors import UsageError
    from cloche.operations.signing import check_heads

    if public_key is None:
        raise UsageError("signed heads are compared with the key that signed them: name it with --public-key")
    signed, key = read_file(heads, "the signed heads"), read_file(public_key, "the public key")
    return [finding async for finding in check_heads(store, signed, key)]


async def _deep_findings(store: Store, key: RunKey | None) -> list[Finding]:
    from cloche.engines import SandboxEngine
    from cloche.operations.deep_verify import deep_findings

    return [finding async for finding in deep_findings(store, SandboxEngine(), key)]


@command
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="All runs of the store instead, what waits for them, and schedules, in one file.",
)
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output (one run)."
)
@store_option
@click.option("--tenant", help="Whose run; with --all: only the runs of this tenant.  [default: default, or all]")
def export(run_id: str | None, is_all: bool, output: str, store: str, tenant: str | None, as_json: bool) -> int | None:
    """Write one run, or all, to a file that verifies anywhere: records, code and guest.

    \b
    Examples:
      cloche export order-1 -o order-1.cloche
      cloche export --all -o orders.cloche
    """
    from cloche.cli.output import print_json
    from cloche.errors import InvalidInput, UsageError
    from cloche.text import shown

    if is_all != (run_id is None):
        raise UsageError("name one run, or give --all")
    if run_id is None:
        return _export_all(store, output, tenant, as_json)
    one = run_id
    data = ask(store, tenant or "default", lambda client: client.export(one))
    if output == "-":
        sys.stdout.buffer.write(data)
        return None
    try:
        part = Path(f"{output}.part")
        part.write_bytes(data)
        os.replace(part, output)  # whole or not at all
    except OSError as error:
        raise InvalidInput(f"the file {output} cannot be written: {error.strerror}", path="") from error
    if as_json:
        print_json({"run_id": run_id, "file": output, "bytes": len(data)})
    else:
        click.echo(f"run {shown(run_id)}: {len(data):,} bytes in {output}")
    return None


def _export_all(store: str, output: str, tenant: str | None, as_json: bool) -> int:
    from cloche.operations.export_all import export_all

    progress = Progress("exported")
    look(store, lambda found: progress.follow(export_all(found, Path(output), tenant)))
    return progress.end(as_json, file=output, bytes=Path(output).stat().st_size)


@command
@target_argument("file")
@click.option(
    "--any-limits", is_flag=True, help="Take a run whose policy allows more than that of runs which begin here."
)
@click.option(
    "--own-code",
    is_flag=True,
    help="Its code is the host's own; else it is its tenant's, unless the store has it already.",
)
@own_store_option
def import_(file: str, any_limits: bool, own_code: bool, store: str, as_json: bool) -> int | None:
    """Put exported runs into a store, after checking every record. A run that is there already is left alone.

    \b
    Example:
      cloche import --own-code order-1.cloche --store elsewhere.db
    """
    from cloche.cli.output import print_json
    from cloche.operations.export import import_run
    from cloche.operations.export_all import import_all, is_of_many
    from cloche.operations.replay import row_of
    from cloche.tenancy import InForce
    from cloche.text import shown

    policies = None if any_limits else InForce.given(None)
    with opened_file(file, "the file") as data:
        if is_of_many(data):
            progress = Progress("imported")
            look(
                store,
                lambda found: progress.follow(import_all(found, data, policies, lambda _: own_code, user())),
                must_exist=False,
            )
            return progress.end(as_json)
        data.seek(0)
        whole = data.read()

    async def put(found: Store) -> RunRow:
        return await row_of(found, await import_run(found, whole, policies, lambda _: own_code, user()))

    row = look(store, put, must_exist=False)
    if as_json:
        print_json({"run_id": row.key.run, "status": row.status, "records": row.head_seq})
    else:
        click.echo(f"run {shown(row.key.run)} ({row.status}), {row.head_seq} records, verified")
    return None


class Progress:
    """Says now and then how far a long piece of work is, and in the end what became of it. What is left out is said at once."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._said = time.monotonic()
        self._moved = 0
        self._error: ClocheError | None = None

    async def follow(self, work: AsyncIterator[Moved]) -> None:
        from cloche.text import shown

        async for one in work:
            if one.error is not None:
                self._error = self._error or one.error
                reason = shown(one.error.message)
                click.echo(f"{click.style('✗', fg='red')} run {shown(one.key.run)}: {reason}", err=True)
            else:
                self._moved += 1
            if time.monotonic() - self._said >= PROGRESS_EVERY_S:
                self._said = time.monotonic()
                click.echo(f"{one.number:,} of {one.count:,} runs", err=True)

    def end(self, as_json: bool, **more: Any) -> int:
        """The exit code, after a line of output: that of the first run that was left out, if any was."""
        from cloche.cli.output import print_json

        if as_json:
            print_json({"runs": self._moved, "is_complete": self._error is None, **more})
        else:
            click.echo(f"{self._moved:,} runs {self._done}, each verified")
        return 0 if self._error is None else code_of(self._error)


@command
@target_argument("file")
@own_store_option
def backup(file: str, store: str, as_json: bool) -> None:
    """Copy the store to a new FILE while it is used: one moment of it, verified.

    A plain copy of the file lacks what is in the write-ahead log beside it.

    \b
    Example:
      cloche backup orders-2027-01-31.db --store orders.db
    """
    from cloche.cli.output import print_json
    from cloche.text import shown

    size = look(store, lambda found: found.back_up(Path(file)))
    if as_json:
        print_json({"file": file, "bytes": size})
    else:
        click.echo(f"{shown(file)}: {size:,} bytes, verified")


def _prune_one(run_id: str, store: str, tenant: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    ask(store, tenant, lambda client: client.delete(run_id, by=user()))
    if as_json:
        print_json({"runs": [run_id], "parts": 0, "blobs": 0, "dry_run": False})
    else:
        click.echo(f"run {shown(run_id)} is deleted; a tombstone keeps its id")


@command
@click.option(
    "--older-than", metavar="TIME", help="Delete runs that ended longer ago than this: 45s, 90m, 12h, 30d, 8w."
)
@click.option("--run", "run_id", metavar="RUN", help="Delete this run alone, which has ended.")
@click.option("--status", type=click.Choice(["success", "failed", "canceled"]), help="Only runs that ended so.")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; say which runs would be.")
@store_option
@tenant_option
def prune(
    older_than: str | None,
    run_id: str | None,
    status: str | None,
    workflow: str | None,
    dry_run: bool,
    store: str,
    tenant: str,
    as_json: bool,
) -> None:
    """Delete old finished runs, and payloads, code and guests that no run needs. Without --older-than: only the latter.

    Tombstones keep the ids of deleted runs from being used again. A worker may be at work meanwhile.

    \b
    Example:
      cloche prune --older-than 90d --status success --dry-run
    """
    from cloche.cli.output import print_json
    from cloche.history.ids import TimeMs
    from cloche.operations import prune, stores
    from cloche.operations.filters import status_of

    if run_id is not None:
        return _prune_one(run_id, store, tenant, as_json)
    now = stores.now()
    before = TimeMs(now - milliseconds(older_than, "--older-than")) if older_than is not None else TimeMs(0)

    async def delete(found: Store) -> tuple[list[RunKey], Collected | None]:
        keys = await prune.prunable(found, before, tenant=tenant, status=status_of(status), workflow=workflow)
        if dry_run:
            return keys, None
        keys = [key async for deleted in prune.delete(found, keys, now, user()) for key in deleted]
        return keys, await prune.collect(found, now, user())

    keys, collected = look(store, delete)
    parts, blobs = (collected.parts, collected.blobs) if collected else (0, 0)
    if as_json:
        print_json({"runs": [key.run for key in keys], "parts": parts, "blobs": blobs, "dry_run": dry_run})
        return
    if not keys and older_than is None:
        click.echo("no runs are deleted without --older-than: say how long ago they must have ended, as 90d", err=True)
    _print_pruned([key.run for key in keys], parts, blobs, dry_run=dry_run)


def _print_pruned(runs: list[str], parts: int, blobs: int, *, dry_run: bool) -> None:
    from cloche.text import shown

    for run in runs if dry_run else ():
        click.echo(shown(run))
    what = "would be deleted" if dry_run else f"deleted, with {parts} parts of payloads and {blobs} bundles of code"
    click.echo(f"{len(runs)} runs {what}", err=dry_run)


def milliseconds(text: str, option: str) -> int:
    """A time as people write it.

    Raises:
        InvalidInput: it is none.
    """
    from cloche.errors import InvalidInput

    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or not number.isascii() or unit not in units:
        raise InvalidInput(f"{option} {text!r} is not a time: write 45s, 90m, 12h, 30d or 8w", path="")
    return int(number) * units[unit] * 1000
