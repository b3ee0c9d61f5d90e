"""The command that serves a store over HTTP: `serve`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import click

from cloche.cli.base import command, own_store_option, say, steps_option, target_argument, tenant_option
from cloche.cli.logs import log_options, set_up
from cloche.cli.run import app_of, drain_option, engine_of, isolation_option
from cloche.cli.sending import reach_of, sending, sending_options
from cloche.cli.telemetry import made_metrics, telemetry_options, watching

if TYPE_CHECKING:
    from cloche.cli.leaving import Leaving
    from cloche.client import Client, Cloche
    from cloche.http import Auth
    from cloche.http.server import Server
    from cloche.operations.reach import Reach
    from cloche.telemetry import Metrics

LOCAL_RATES: Any = {
    "requests_per_s": 1e6,
    "burst": 10**6,
}  # all of this machine are one principal, and may do what they like


@command
@target_argument("targets", nargs=-1)
@own_store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=4700, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@sending_options
@telemetry_options
@isolation_option
@drain_option
@log_options
@steps_option
@tenant_option
def serve(
    targets: tuple[str, ...],
    store: str,
    host: str,
    port: int,
    webhook_hosts: tuple[str, ...],
    to_loopback: bool,
    no_webhooks: bool,
    metrics_of_tenants: int,
    isolation: str,
    drain: float,
    log_format: str,
    verbose: int,
    steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Serve the runs of a store over HTTP, and send its webhooks; with TARGETs, execute them in this process too.

    Where the store has tokens ('cloche token create'), those who hold one are let in. Where it has none, only this machine
    reaches the server. SIGTERM and Ctrl-C drain: requests are finished, streams end, running steps end and are recorded.

    \b
    Example:
      cloche serve orders.py:workflow --store orders.db --port 4700
    """
    from cloche.cli.leaving import run_to_end
    from cloche.cli.targets import find_runnable
    from cloche.client import Client

    client: Client | Cloche = Client(store, tenant=tenant)
    metrics, reach = made_metrics(store, metrics_of_tenants), reach_of(webhook_hosts, to_loopback, no_webhooks)
    found = find_runnable(targets, steps) if targets else []
    set_up(log_format, verbose)
    if targets:
        client = app_of(found, store, tenant, engine_of("sandbox", isolation), drain)
        client.observers += [metrics, *watching()]
        drain = client.drain_timeout_s

    async def whole(leaving: Leaving) -> int:
        return await _serve(client, host, port, leaving, reach, metrics, as_json=as_json)

    return run_to_end(whole, drain, lambda code: code)


async def _serve(
    client: Client | Cloche,
    host: str,
    port: int,
    leaving: Leaving,
    reach: Reach | None,
    metrics: Metrics,
    *,
    as_json: bool,
) -> int:
    from cloche import http
    from cloche.cli.output import print_json
    from cloche.cli.settling import keep_what_is_loaded
    from cloche.client import Cloche
    from cloche.http.server import Server

    async with client, sending(client, reach):
        if isinstance(client, Cloche):
            leaving.watch(client)
        keep_what_is_loaded()
        with contextlib.closing(Server(host, port)) as server:
            auth = await _auth(client, host, server)
            if as_json:
                print_json({"url": server.url, "auth": "local" if auth is http.local else "tokens"})
            else:
                click.echo(f"serving on {server.url} (Ctrl-C ends it)")
                if auth is http.local:
                    click.echo("everybody on this machine is let in: the store has no tokens", err=True)
            rates = LOCAL_RATES if auth is http.local else {}
            serving = asyncio.create_task(server.run(http.app(client, auth=auth, metrics=metrics, **rates)))
            asked = asyncio.create_task(leaving.asked.wait())
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not serving.done():
                server.end()
            await serving
    if not as_json:
        say("the server has ended" + ("; what is open goes on with the next one" if isinstance(client, Cloche) else ""))
    return 0


async def _auth(client: Client | Cloche, host: str, server: Server) -> Auth:
    """Who is let in: holders of tokens, where the store has any.

    Raises:
        UsageError: it has none, and others than this machine could reach the server.
    """
    from cloche import http
    from cloche.errors import UsageError

    if await client.connection.store.has_tokens():
        return http.by_token(client)
    if not server.is_local:
        raise UsageError(
            f"{host} can be reached by others, and the store has no token by which they would be known: make one with "
            "'cloche token create', or leave --host out"
        )
    return http.local
