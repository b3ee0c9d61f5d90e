"""Commands of an operator: hold a tenant or its code back, and read what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloche.cli.base import command, key_of, look, own_store_option, say, user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.operations.stores import AuditEntry, Hold, Store

ACTS = ("suspend", "reinstate", "quarantine", "release", "list")


@command
@click.argument("act", type=click.Choice(ACTS))
@click.argument("tenant", metavar="[TENANT]", required=False)
@click.option("--version", help="Which of its versions: for quarantine and release.")
@click.option("--reason", default="", help="Why, for whoever meets it: for suspend and quarantine.")
@own_store_option
def tenant(act: str, tenant: str | None, version: str | None, reason: str, store: str, as_json: bool) -> None:
    """Hold a TENANT back (suspend), or one version of its code (quarantine), let it go on (reinstate, release), or list.

    Nothing that is held back is started or driven, by any worker of the store; steps under way may end. Nothing is lost.

    \b
    Example:
      cloche tenant suspend acme --reason "mines coins"
      cloche tenant quarantine acme --version order@1a2b3c --reason "a hole"
    """
    from cloche.errors import UsageError
    from cloche.history.ids import tenant_id
    from cloche.operations import holds, stores

    if act == "list":
        _list(look(store, lambda found: found.holds(tenant_id(tenant) if tenant else None)), as_json)
        return
    if tenant is None:
        raise UsageError(f"say which tenant: cloche tenant {act} TENANT")
    if (act in ("quarantine", "release")) is (version is None):
        raise UsageError(f"--version goes with quarantine and release: cloche tenant {act} {tenant}")
    if (act in ("suspend", "quarantine")) is (not reason):
        raise UsageError("say why with --reason: for suspend and quarantine")
    of, by, now = tenant_id(tenant), user(), stores.now()

    async def do(found: Store) -> Sequence[Hold]:
        match act:
            case "suspend":
                await holds.suspend(found, of, reason, by, now)
            case "reinstate":
                await holds.reinstate(found, of, by, now)
            case "quarantine":
                await holds.quarantine(found, of, version or "", reason, by, now)
            case _:
                await holds.release(found, of, version or "", by, now)
        return await found.holds(of)

    _list(look(store, do), as_json)


@command
@click.option("--tenant", help="Only what was done to this tenant.")
@click.option(
    "--run", "run_id", metavar="RUN", help="Only what was done to this run, of --tenant or the tenant 'default'."
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@own_store_option
def audit(tenant: str | None, run_id: str | None, limit: int, store: str, as_json: bool) -> None:
    """Who has done what: deployed, held back, canceled, resumed, retried, deleted; and what was denied. The newest first.

    \b
    Examples:
      cloche audit --tenant acme
      cloche audit --run order-1
    """
    from cloche.history.ids import tenant_id
    from cloche.operations import acts

    if run_id is not None:
        key = key_of(run_id, tenant or "default")
        _entries(look(store, lambda found: acts.acts_on(found, key.tenant, key.run, limit)), as_json)
        return
    _entries(look(store, lambda found: found.audit_log(tenant_id(tenant) if tenant else None, limit=limit)), as_json)


def _list(found: Sequence[Hold], as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    if not found:
        say("nothing is held back")
    for one in found:
        if as_json:
            held = {"tenant": one.tenant, "code": one.code or None, "reason": one.reason}
            print_json({**held, "held_at": moment(one.held_at)})
        else:
            what = f"code {one.code[:16]}" if one.code else "suspended"
            click.echo(f"{shown(one.tenant)}  {what}  since {moment(one.held_at)}  {shown(one.reason)}")


def _entries(found: Sequence[AuditEntry], as_json: bool) -> None:
    import json

    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    if not found:
        say("nothing was done yet that is kept here")
    for one in found:
        if as_json:
            who = {"id": one.id, "at": moment(one.at), "tenant": one.tenant or None, "actor": one.actor}
            print_json({**who, "action": one.action, "facts": json.loads(one.facts)})
        else:
            whose = shown(one.tenant) or "all tenants"
            click.echo(f"{moment(one.at)}  {whose}  {shown(one.action)}  by {shown(one.actor)}  {shown(one.facts)}")
