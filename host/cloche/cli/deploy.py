"""Commands around a deploy: deploy itself, check and upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import (
    EXIT_DIVERGED,
    command,
    key_of,
    look,
    own_store_option,
    read_file,
    say,
    steps_option,
    target_argument,
    tenant_option,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.client.sought import RunQuery
    from cloche.engines import CellSource, Code, Language
    from cloche.operations.bulk import BulkReport
    from cloche.operations.deploy import Deployment
    from cloche.operations.stores import Store, Version
    from cloche.operations.upgrade import Fit


_LANGUAGES: dict[str, Language | None] = {".js": "javascript", ".mjs": "javascript", ".py": "python", ".json": None}
_JAVASCRIPT = (".js", ".mjs")


@command
@target_argument("file", metavar="FILE")
@click.option("--tenant", required=True, help="Whose code it is.")
@click.option("--workflow", help="The workflow's id; by default that of the graph, or the name of the file.")
@click.option("--main", default="main.py", help="Of a folder: the file that has the workflow.")
@own_store_option
def deploy(file: str, tenant: str, workflow: str | None, main: str, store: str, as_json: bool) -> None:
    """Keep the workflow in FILE for a tenant: a graph (.json), TypeScript, JavaScript or Python, or a folder of Python.

    TypeScript, and JavaScript with "use workflow", is compiled under glass with what it imports; each of its workflows is
    kept, or that which --workflow names.

    A folder's workflow is in its main.py, which imports what lies beside it: modules, data, pure-Python wheels. A source map
    that FILE names and that lies beside it is kept in it.

    It is read and loaded once, in a process of its own, under glass and within limits, and nothing of it is run on the
    host. Any worker that has the steps can start it then.

    \b
    Example:
      cloche deploy order.js --tenant acme --store platform.db
      cloche deploy flow.ts --tenant acme --workflow onboarding
    """
    from cloche.history.ids import tenant_id
    from cloche.operations import deploy

    path = Path(file)
    if (marked := _of_bundle(path, workflow)) is not None:
        for name, source in marked:
            _put(deploy.Deployment(tenant_id(tenant), source, name, "javascript", by=user()), store, as_json)
        return
    text, language = _content(path, main)
    if language == "javascript":
        text, left_out = deploy.with_source_map(text, path)
        if left_out is not None:
            click.echo(f"{click.style('!', fg='yellow')} its source map is left out: {left_out}", err=True)
    id = workflow or (path.resolve().stem if language else None)
    _put(deploy.Deployment(tenant_id(tenant), text, id, language, by=user()), store, as_json)


def _put(one: Deployment, store: str, as_json: bool) -> None:
    from cloche.engines import SandboxEngine
    from cloche.operations import deploy, stores
    from cloche.operations.holds import check

    engine, now = SandboxEngine(), stores.now()

    async def put(found: Store) -> tuple[Version, tuple[str, ...]]:
        await check(found, one.tenant)
        return await deploy.deploy(found, engine, one, now)

    version, not_granted = look(store, put, must_exist=False)
    _show_version(version, not_granted, as_json)


def _of_bundle(path: Path, workflow: str | None) -> list[tuple[str, str]] | None:
    """The workflows, with their source, of a file with "use workflow"; None of any other."""
    from cloche.client import load_bundle
    from cloche.operations.typescript import is_marked, is_script

    if not is_script(path) or path.is_dir():
        return None
    if path.suffix in _JAVASCRIPT and not is_marked(path, read_file(str(path), "the file").decode(errors="replace")):
        return None
    bundle = load_bundle(path)
    found = bundle.workflows if workflow is None else [bundle.workflow(workflow)]
    return [(one.id, one.source().code) for one in found]


def _content(path: Path, main: str) -> tuple[str, Language | None]:
    """What is to be deployed, and its language."""
    from cloche.errors import UsageError
    from cloche.operations.files import bundled, read_folder
    from cloche.tenancy import Policy

    if path.is_dir():
        return bundled(read_folder(path, Policy.strict().source_bytes), main), "python"
    if path.suffix not in _LANGUAGES:
        raise UsageError(
            f"{path} is no folder and no .json, .ts, .js or .py file: it does not say what it is written in"
        )
    try:
        return read_file(str(path), "the file").decode(), _LANGUAGES[path.suffix]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}") from error


def _show_version(version: Version, not_granted: Sequence[str], as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.operations.deploy import grants_to_write
    from cloche.text import shown

    if as_json:
        data = {"version": version.id, "tenant": version.tenant, "workflow": version.workflow, "digest": version.digest}
        print_json({**data, "deployed_at": moment(version.deployed_at), "not_granted": not_granted})
    else:
        click.echo(
            f"{click.style('✓', fg='green')} {shown(version.id)} is what tenant {shown(version.tenant)} starts now"
        )
        for step in not_granted:
            click.echo(
                f"{click.style('!', fg='yellow')} it calls step '{shown(step)}', which strangers may not", err=True
            )
        if not_granted:
            click.echo(
                f"  unless the app says policies={{'{shown(version.tenant)}': {shown(grants_to_write(not_granted))}}}",
                err=True,
            )


@command
@target_argument(metavar="TARGET")
@own_store_option
@steps_option
@tenant_option
def check(target: str, store: str, steps: str | None, tenant: str, as_json: bool) -> int:
    """Before a deploy: which open runs of TARGET fit its code of today, and which do not, since which record.

    \b
    Example:
      cloche check orders.py:order --store orders.db
    """
    from cloche.operations import upgrade
    from cloche.text import shown

    engine, code = _today(target, steps)

    async def check_all(found: Store) -> list[bool]:
        fitting = []
        async for fit in upgrade.fits(found, engine, code, tenant):
            fitting.append(fit.ok)
            _show(fit, as_json)
        return fitting

    fitting = look(store, check_all)
    if not fitting:
        click.echo(
            f"workflow {shown(code.workflow)} has no open runs of tenant {shown(tenant)}: nothing can misfit", err=True
        )
    return 0 if all(fitting) else EXIT_DIVERGED


@command
@target_argument(metavar="TARGET")
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every open run that fits.")
@own_store_option
@steps_option
@tenant_option
def upgrade(
    target: str, run_ids: tuple[str, ...], everything: bool, store: str, steps: str | None, tenant: str, as_json: bool
) -> int:
    """Let open runs go on under the code that TARGET has today, where it replays their whole history.

    Runs that a worker executes are left out: stop it first, or wait until they come to rest.

    \b
    Example:
      cloche upgrade orders.py:order --all --store orders.db
    """
    from cloche.errors import UsageError
    from cloche.operations import upgrade

    if bool(run_ids) is everything:
        raise UsageError("name the runs to move, or --all for every one that fits")
    engine, code = _today(target, steps)

    async def move_all(found: Store) -> bool:
        moved_all, moving = True, run_ids
        if everything:
            listed = [fit async for fit in upgrade.fits(found, engine, code, tenant) if not fit.is_same]
            moving = tuple(fit.run_id for fit in listed if fit.ok)
            if not listed:
                say("nothing to move: no open run has other code than TARGET has today")
            for fit in listed:
                if not fit.ok:
                    moved_all = False
                    _show(fit, as_json)
        return await _move(found, engine, code, [key_of(run, tenant) for run in moving], as_json) and moved_all

    return 0 if look(store, move_all) else EXIT_DIVERGED


def upgrade_many(
    store: str, tenant: str, target: str, query: RunQuery, text: str | None
) -> Callable[[bool], BulkReport]:
    """What counts the open runs of these that have other code than TARGET has today (True), or moves them (False)."""
    from cloche.operations.upgrade_many import counted, moved

    engine, code = _today(target, None)

    async def do(found: Store, is_dry: bool) -> BulkReport:
        if is_dry:
            return await counted(found, code, tenant, query, text)
        return await moved(found, engine, code, tenant, query, text, user())

    return lambda is_dry: look(store, lambda found: do(found, is_dry))


async def _move(store: Store, engine: CellSource, code: Code, keys: list[Any], as_json: bool) -> bool:
    from cloche.cli.output import print_json
    from cloche.operations.upgrade import upgrade_each
    from cloche.text import shown

    moved_all = True
    async for key, problem in upgrade_each(store, engine, keys, code, user()):
        moved_all = moved_all and problem is None
        if as_json:
            print_json({"run_id": key.run, "upgraded": problem is None, "problem": problem})
        elif problem is None:
            click.echo(f"{click.style('✓', fg='green')} run {shown(key.run)} goes on under today's code")
        else:
            click.echo(f"{click.style('✗', fg='red')} {shown(problem)}", err=True)
    return moved_all


def _today(target: str, steps: str | None) -> tuple[CellSource, Code]:
    """The engine, and the code of TARGET: a graph is read in a process of its own, and needs no steps here."""
    from cloche.cli.targets import find_workflow
    from cloche.engines import SandboxEngine
    from cloche.operations.deploy import read_graph
    from cloche.run.code import code_of

    engine = SandboxEngine()
    if target.endswith(".json"):
        return engine, read_graph(engine, read_file(target, "the graph"), target)
    return engine, code_of(find_workflow(target, steps), engine)


def _show(fit: Fit, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json(fit.to_data())
    elif fit.ok:
        how = "has this code" if fit.is_same else "fits"
        click.echo(f"{click.style('✓', fg='green')} {shown(fit.run_id)}  {fit.status:10} {how}")
    else:
        why = fit.problem or str(fit.divergence)
        since = f"does not fit since record {fit.divergence.seq}" if fit.divergence else "cannot be read"
        click.echo(f"{click.style('✗', fg='red')} {shown(fit.run_id)}  {fit.status:10} {since}: {shown(why)}")
