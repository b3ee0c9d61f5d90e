"""The command that brings a store to this version."""

from __future__ import annotations

import click

from cloche.cli.base import command, run, user


@command
@click.argument("url")
@click.option("--print", "is_printed", is_flag=True, help="Change nothing; print the SQL for an empty database.")
@click.option("--worker-role", metavar="ROLE", help="Grant a role what workers, clients and this command line need.")
@click.option("--prune-role", metavar="ROLE", help="Grant a role what 'cloche prune' needs beside that.")
def migrate(url: str, is_printed: bool, worker_role: str | None, prune_role: str | None, as_json: bool) -> None:
    """Make the store at URL, or bring it to the version of this cloche.

    Workers of the version before go on meanwhile: migrate first, then start the new ones.

    \b
    Example:
      cloche migrate postgresql://admin@db/cloche --worker-role app
    """
    from cloche.cli.output import print_json
    from cloche.operations import stores

    if is_printed:
        click.echo(stores.migrations(url, worker_role=worker_role, prune_role=prune_role))
        return
    made = run(stores.migrate(url, worker_role=worker_role, prune_role=prune_role, by=user()))
    if as_json:
        print_json({"store": stores.shown(url), "migrated": made})
    elif made:
        click.echo(f"{stores.shown(url)} is of version {made[-1]} now")
    else:
        click.echo(f"{stores.shown(url)} is of this version already")
