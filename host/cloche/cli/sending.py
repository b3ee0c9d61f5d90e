"""Options of the commands that send webhooks, and push attempts of remote steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloche.client import Client
    from cloche.operations.reach import Reach

F = TypeVar("F", bound=Callable[..., Any])
WORKER_LOOK_S = 2.0  # of the workers of a store, of which there may be many


def sending_options(function: F) -> F:
    """Adds `webhook_hosts`, `to_loopback` and `no_webhooks`."""
    added: Any = function
    for option in (
        click.option(
            "--no-webhooks", is_flag=True, help="Send no webhooks and push no attempts of remote steps: others do."
        ),
        click.option(
            "--webhooks-to-loopback", "to_loopback", is_flag=True, help="Send webhooks to this machine too, for tests."
        ),
        click.option(
            "--webhook-host",
            "webhook_hosts",
            multiple=True,
            metavar="HOST",
            help="Send webhooks to this host alone; .example.com is all below it. May be given several times.",
        ),
    ):
        added = option(added)
    return added  # type: ignore[no-any-return]


def reach_of(webhook_hosts: tuple[str, ...], to_loopback: bool, no_webhooks: bool) -> Reach | None:
    """Where webhooks go; None: nowhere."""
    from cloche.operations.reach import Reach

    return None if no_webhooks else Reach(webhook_hosts, to_loopback)


def sending(client: Client, reach: Reach | None, **options: float) -> AbstractAsyncContextManager[None]:
    """While it is open, this process sends what is due."""
    from cloche.client.sending import deliveries

    return nullcontext() if reach is None else deliveries(client, reach, **options)
