"""The command for webhooks: `webhook put`, `webhook list`, `webhook delete`, `webhook deliveries`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import command, look, own_store_option, say, tenant_option, user

if TYPE_CHECKING:
    from cloche.operations.stores import Store
    from cloche.operations.webhooks import Delivery, WebhookRow

SECRET = "CLOCHE_WEBHOOK_SECRET"  # in the environment, and never in an argument
FORMS = click.Choice(["standard", "github", "stripe"])
STOPS = click.Choice(["success", "failed", "canceled", "suspended", "waiting"])


@command
@click.argument("action", type=click.Choice(["put", "list", "delete", "deliveries"]))
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--to", "url", metavar="URL", help="Where it is sent, when runs stop.")
@click.option("--on", "stops", multiple=True, type=STOPS, help="What it is told of. Without: all but waiting.")
@click.option("--steps", "steps", multiple=True, metavar="STEP", help="Attempts of this remote step are pushed there.")
@click.option("--from", "form", type=FORMS, help="It is received, and signed in this form.")
@tenant_option
@own_store_option
def webhook(
    action: str,
    name: str | None,
    url: str | None,
    stops: tuple[str, ...],
    steps: tuple[str, ...],
    form: str | None,
    tenant: str,
    store: str,
    as_json: bool,
) -> None:
    """Tell others when runs stop (--to), push attempts of remote steps (--to, --steps), and take what others sign (--from).

    What is sent is signed (Standard Webhooks) with a secret that put prints; 'cloche serve' sends it. What is received goes to
    the run that waits with a hook whose token begins with the NAME and a colon; the secret of its sender is in
    CLOCHE_WEBHOOK_SECRET. deliveries lists what was not delivered yet.

    \b
    Example:
      cloche webhook put ops --to https://ops.example.com/cloche --on failed
      cloche webhook put resizer --to https://pictures.example.com/steps --steps resize
      CLOCHE_WEBHOOK_SECRET=… cloche webhook put github --from github
      cloche webhook deliveries ops
    """
    from cloche.errors import UsageError

    if action == "list":
        _list(store, tenant, as_json)
        return
    if name is None:
        raise UsageError(f"say which webhook to {action}: 'cloche webhook list' has their names")
    if action == "put":
        if (url is None) == (form is None):
            raise UsageError("say where it is sent, --to URL, or in which form it is received, --from FORM")
        row = look(store, lambda found: _put(found, tenant, name, url, form, stops, steps), must_exist=False)
        _print_put(row, as_json)
    elif action == "delete":
        look(store, lambda found: _forget(found, tenant, name))
        _say_deleted(name, as_json)
    else:
        _deliveries(store, tenant, name, as_json)


async def _put(
    store: Store,
    tenant: str,
    name: str,
    url: str | None,
    form: str | None,
    stops: tuple[str, ...],
    steps: tuple[str, ...],
) -> WebhookRow:
    from cloche.operations import stores, webhooks

    told: dict[str, Any] = {"secret": os.environ.get(SECRET), "steps": steps or None, "stops": stops or None}
    told |= {"form": form} if form else {"url": url}
    if steps and form is None:
        told["form"] = webhooks.STEPS
    return await webhooks.put(store, tenant, name, now=stores.now(), by=user(), **told)


async def _forget(store: Store, tenant: str, name: str) -> None:
    from cloche.operations import stores, webhooks

    await webhooks.forget(store, tenant, name, now=stores.now(), by=user())


def _list(store: str, tenant: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.history.ids import tenant_id
    from cloche.text import shown

    rows = look(store, lambda found: found.webhooks(tenant_id(tenant)))
    if not rows:
        say(f"tenant {shown(tenant)} has no webhooks")
    for row in rows:
        if as_json:
            print_json(_data(row))
        else:
            click.echo(f"{row.name:20}  {_what(row)}")


def _what(row: WebhookRow) -> str:
    from cloche.operations import webhooks

    if row.form == webhooks.STEPS:
        return f"to {row.url} for steps {', '.join(sorted(webhooks.steps_of(row)))}"
    return f"to {row.url} on {', '.join(row.stops)}" if row.url else f"from {row.form}"


def _deliveries(store: str, tenant: str, name: str, as_json: bool) -> None:
    from cloche.cli.output import moment, print_json
    from cloche.operations import webhooks
    from cloche.text import shown

    async def undelivered(found: Store) -> list[Delivery]:
        return await webhooks.undelivered(found, tenant, name)

    rows = look(store, undelivered)
    if not rows:
        say("nothing is left to be delivered")
    for one in rows:
        due, id = moment(one.due_at) or None, webhooks.delivery_id(one)
        data = {"id": id, "run_id": one.run, "status": one.status, "attempts": one.attempts, "due_at": due}
        if as_json:
            print_json({**data, "problem": one.problem})
        else:
            stands = f"attempt {one.attempts + 1} at {due}" if due else f"given up after {one.attempts}"
            click.echo(f"{id}  {shown(one.run)} {one.status}  {stands}  {shown(one.problem or '')}".rstrip())


def _data(row: WebhookRow) -> dict[str, Any]:
    from cloche.operations import webhooks

    shown: dict[str, Any] = {"name": row.name, "tenant": row.tenant, "form": row.form}
    is_receiver = row.form == webhooks.STEPS
    steps = sorted(webhooks.steps_of(row)) if is_receiver else []
    return {**shown, "url": row.url, "stops": [] if is_receiver else list(row.stops), "steps": steps}


def _print_put(row: WebhookRow, as_json: bool) -> None:
    from cloche.cli.output import print_json

    if as_json:
        print_json({**_data(row), "secret": row.secret if row.url else None})
    elif row.url:
        click.echo(row.secret)
        say("the receiver checks signatures with this secret: keep it where secrets are kept")
    else:
        click.echo(f"hooks whose tokens begin with {row.name}: take what is signed as {row.form} has it")


def _say_deleted(name: str, as_json: bool) -> None:
    from cloche.cli.output import print_json
    from cloche.text import shown

    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        click.echo(f"webhook {shown(name)} is deleted")
