"""Commands about cloche itself and what it is set up with: doctor, explain, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from cloche.cli.base import EXIT_NOT_FOUND, EXIT_STORE, command, own_store_option, run

if TYPE_CHECKING:
    from cloche.tenancy import InForce


@command
@click.option(
    "--app",
    metavar="TARGET",
    help="Where policies are from: file.py:name or module:name of a Cloche, a Policy, or policies by tenant.",
)
@click.option("--policy", "every", is_flag=True, help="List every bound instead: unit, value, default and reason.")
@own_store_option
def doctor(app: str | None, every: bool, store: str, as_json: bool) -> int:
    """Look at versions, guests, the cache, the store and the policies in force, and say what is not well.

    \b
    Example:
      cloche doctor --store orders.db
    """
    from cloche.cli.output import print_json
    from cloche.cli.targets import find_policies
    from cloche.operations.doctor import examine
    from cloche.text import shown

    policies = find_policies(app) if app else None
    if every:
        _list_bounds(policies, as_json)
        return 0
    checks = run(examine(store, policies))
    marks = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "cyan")}
    for check in checks:
        if as_json:
            print_json({"name": check.name, "ok": check.ok, "says": check.says, **check.facts})
            continue
        mark, color = marks[check.ok]
        click.secho(f"{mark} ", fg=color, nl=False)
        click.echo(f"{shown(check.name):16}  {shown(check.says)}")
    return EXIT_STORE if any(check.ok is False for check in checks) else 0


def _list_bounds(policies: InForce | None, as_json: bool) -> None:
    """Each field of `Policy`; with policies, also what they have there."""
    from dataclasses import asdict

    from cloche.cli.output import print_json
    from cloche.operations.policies import brief
    from cloche.tenancy import InForce, Policy
    from cloche.text import shown

    in_force = policies or InForce(Policy())
    deployed = in_force.deployed.model_dump(mode="json")
    values = in_force.policy.model_dump(mode="json")
    own = {tenant: policy.model_dump(mode="json") for tenant, policy in in_force.own.items()}
    for limit in Policy.described():
        value = values[limit.name]
        others = {tenant: other[limit.name] for tenant, other in own.items() if other[limit.name] != value}
        if as_json:
            print_json({**asdict(limit), "value": value, "deployed": deployed[limit.name], "tenants": others})
            continue
        default = "" if value == limit.default else f" (default: {brief(limit.default)})"
        click.echo(f"{limit.name:24}{shown(brief(value)):>18}{default}  {limit.counts}: {limit.why}")
        if limit.why_strict:
            click.echo(f"{'':24}{brief(limit.strict):>18}  for deployed code (Policy.strict): {limit.why_strict}")
        for tenant, other in others.items():
            click.echo(f"{'':24}{shown(brief(other)):>18}  for tenant {shown(tenant)}")


def _codes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from cloche.cli.explanations import EXPLANATIONS

    return [CompletionItem(code) for code in EXPLANATIONS if code.startswith(incomplete)]


@command
@click.argument("code", required=False, shell_complete=_codes)
def explain(code: str | None, as_json: bool) -> int:
    """Explain an error CODE: what it means, why it happens, what to do. Without CODE: list them.

    Codes of errors come first, then those of problems of a workflow's code, which stand in brackets behind its message.

    \b
    Example:
      cloche explain divergence
    """
    from cloche.cli.explanations import EXPLANATIONS, PROBLEMS, explanation
    from cloche.cli.output import print_json
    from cloche.text import shown

    if code is None:
        for name in (*EXPLANATIONS, *PROBLEMS):
            print_json({"code": name}) if as_json else click.echo(name)
        return 0
    text = explanation(code)
    if text is None:
        click.echo(f"there is no error code '{shown(code)}'; 'cloche explain' lists them", err=True)
        return EXIT_NOT_FOUND
    print_json({"code": code, "text": text}) if as_json else click.echo(text)
    return 0


@command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str, as_json: bool) -> None:
    """Print the completion script of a shell: put `eval "$(cloche completion bash)"` into its start file.

    \b
    Example:
      cloche completion bash
    """
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    from cloche.cli.base import main

    kinds: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    click.echo(kinds[shell](main, {}, "cloche", "_CLOCHE_COMPLETE").source())
