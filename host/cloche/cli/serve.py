"""The command that serves a store over HTTP: `serve`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from cloche.cli.base import command, steps_option, store_option, tenant_option
from cloche.cli.run import app_of, drain_option, engine_of, isolation_option, tell_of_compiling

if TYPE_CHECKING:
    from cloche.cli.leaving import Leaving
    from cloche.client import Client, Cloche


@command
@click.argument("targets", nargs=-1)
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=4700, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@isolation_option
@drain_option
@steps_option
@tenant_option
def serve(
    targets: tuple[str, ...],
    store: str,
    host: str,
    port: int,
    isolation: str,
    drain: float,
    steps: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Serve the runs of a store over HTTP; with TARGETs, execute them in this process too.

    SIGTERM and Ctrl-C drain: requests are finished, streams end, running steps end and are recorded.

    \b
    Example:
      cloche serve orders.py:workflow --store orders.db --port 4700
    """
    from cloche.cli.leaving import run_to_end
    from cloche.cli.targets import find_runnable
    from cloche.client import Client

    client: Client | Cloche
    if targets:
        tell_of_compiling()
        client = app_of(find_runnable(targets, steps), store, tenant, engine_of("sandbox", isolation), drain)
        drain = client.drain_timeout_s
    else:
        client = Client(store, tenant=tenant)

    async def whole(leaving: Leaving) -> int:
        return await _serve(client, host, port, leaving, as_json=as_json)

    return run_to_end(whole, drain, lambda code: code)


async def _serve(client: Client | Cloche, host: str, port: int, leaving: Leaving, *, as_json: bool) -> int:
    from cloche import http
    from cloche.cli.output import print_json
    from cloche.client import Cloche
    from cloche.http.server import Server

    async with client:
        if isinstance(client, Cloche):
            leaving.watch(client)
        server = Server(http.app(client, auth=http.local), host, port)
        if as_json:
            print_json({"url": server.url})
        else:
            click.echo(f"serving on {server.url} (Ctrl-C ends it)")
        serving = asyncio.create_task(server.run())
        asked = asyncio.create_task(leaving.asked.wait())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        server.end()
        await serving
    return 0
