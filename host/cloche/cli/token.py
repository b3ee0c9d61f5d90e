"""The commands for tokens: `token create`, `token list`, `token rotate`, `token revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import command, look, own_store_option, say, user

if TYPE_CHECKING:
    from cloche.operations.stores import Store
    from cloche.operations.tokens import Made, TokenRow

ROLES = click.Choice(["worker", "viewer", "operator", "admin"])


@command
@click.argument("action", type=click.Choice(["create", "list", "rotate", "revoke"]))
@click.argument("id", metavar="[ID]", required=False)
@click.option("--tenant", help="The tenant that it reaches.")
@click.option("--all-tenants", is_flag=True, help="It reaches all of them.")
@click.option("--role", type=ROLES, default="viewer", show_default=True, help="What it lets its holder do.")
@click.option("--label", default="", help="What it is for.")
@click.option("--expires", metavar="TIME", help="For how long it is valid: 12h, 30d, 8w. Without: until it is revoked.")
@own_store_option
def token(
    action: str,
    id: str | None,
    tenant: str | None,
    all_tenants: bool,
    role: str,
    label: str,
    expires: str | None,
    store: str,
    as_json: bool,
) -> None:
    """Make, list, renew or revoke the tokens by which 'cloche serve' knows who asks.

    A viewer reads, an operator starts runs and moves them, an admin deletes, deploys and gives tokens. A
    worker performs remote steps, and nothing else. A token is printed once:
    the store has its digest alone. rotate gives it another secret; the old one is void at once.

    \b
    Example:
      cloche token create --tenant acme --role operator --expires 30d
      cloche token list
      cloche token revoke 0f3a5b7c9d1e
    """
    from cloche.errors import UsageError

    if action == "create":
        if (tenant is None) != all_tenants:
            raise UsageError("say whom the token reaches: --tenant ID, or --all-tenants")
        _print_made(look(store, lambda found: _created(found, tenant, role, label, expires), must_exist=False), as_json)
    elif action == "list":
        rows = look(store, lambda found: _listed(found, tenant))
        if not rows:
            say(
                "the store has no tokens" + (f" of tenant {tenant}" if tenant else "") + ": only this machine is let in"
            )
        for row in rows:
            _print_row(row, as_json)
    elif id is None:
        raise UsageError(f"say which token to {action}: 'cloche token list' has their ids")
    elif action == "rotate":
        _print_made(look(store, lambda found: _rotated(found, id, tenant)), as_json)
    else:
        look(store, lambda found: _revoked(found, id, tenant))
        _say_revoked(id, as_json)


async def _created(store: Store, tenant: str | None, role: str, label: str, expires: str | None) -> Made:
    from cloche.cli.store import milliseconds
    from cloche.operations import stores, tokens

    lasts_s = milliseconds(expires, "--expires") / 1000 if expires is not None else None
    return await tokens.create(
        store, tenant=tenant, role=role, label=label, now=stores.now(), lasts_s=lasts_s, by=user()
    )


async def _listed(store: Store, tenant: str | None) -> list[TokenRow]:
    from cloche.operations import tokens

    return await tokens.listed(store, tenant=tenant)


async def _rotated(store: Store, id: str, tenant: str | None) -> Made:
    from cloche.operations import stores, tokens

    return await tokens.rotate(store, id, stores.now(), tenant=tenant, by=user())


async def _revoked(store: Store, id: str, tenant: str | None) -> None:
    from cloche.operations import stores, tokens

    await tokens.revoke(store, id, stores.now(), tenant=tenant, by=user())


def _data(row: TokenRow) -> dict[str, Any]:
    from cloche.cli.output import moment

    return {
        "id": row.id,
        "tenant": row.tenant,
        "role": row.role,
        "label": row.label,
        "created_at": moment(row.created_at),
        "expires_at": moment(row.expires_at) or None,
        "used_at": moment(row.used_at) or None,
    }


def _print_made(made: Made, as_json: bool) -> None:
    from cloche.cli.output import print_json

    if as_json:
        print_json({**_data(made.row), "token": made.text})
    else:
        click.echo(made.text)
        click.echo("this is shown once: keep it where secrets are kept", err=True)


def _print_row(row: TokenRow, as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.text import shown

    if as_json:
        print_json(_data(row))
        return
    whose = "all tenants" if row.tenant is None else f"tenant {shown(row.tenant)}"
    until = f"expires {moment(row.expires_at)}" if row.expires_at is not None else "does not expire"
    used = f"used {moment(row.used_at)}" if row.used_at is not None else "never used"
    click.echo(f"{row.id}  {row.role:8}  {whose:20}  {until}  {used}  {shown(row.label)}".rstrip())


def _say_revoked(id: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({"id": id, "revoked": True})
    else:
        click.echo(f"token {shown(id)} is revoked: who shows it is not let in any more")
