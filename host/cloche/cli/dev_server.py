"""What `cloche dev` starts, anew for each state of the files: the workflows of a file, executed and served over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import click

from cloche.cli.base import exit_code_of, tell_of_compiling
from cloche.cli.serve import LOCAL_RATES

if TYPE_CHECKING:
    from cloche.cli.leaving import Leaving
    from cloche.client import Cloche
    from cloche.http.server import Server

DRAIN_S = 5.0
FIRST_RUN = "hello-1"
FIRST_INPUT = "Ada"
ANSWER = '{"ok": true}'
LISTED = 1_000  # runs that are counted


@click.command
@click.argument("file")
@click.option("--store", required=True)
@click.option("--socket", "socket_fd", type=int, required=True, help="One that listens.")
@click.option(
    "--says", type=int, required=True, help="Where a byte says that it can serve, and the end that it does not."
)
@click.option(
    "--go", type=int, required=True, help="Where a byte says that it shall serve, and the end that it shall not."
)
@click.option("--first", "beginning", flag_value="first", help="Start a run of the first workflow.")
@click.option("--found", "beginning", flag_value="found", help="The file was there.")
@click.option("--again", "beginning", flag_value="again", help="The file was saved.")
@click.option("--json", "as_json", is_flag=True)
def main(file: str, store: str, socket_fd: int, says: int, go: int, beginning: str, as_json: bool) -> None:
    """Load FILE, execute its workflows, and serve."""
    from cloche.cli.leaving import run_to_end
    from cloche.cli.targets import find_workflows
    from cloche.client import Cloche
    from cloche.errors import ClocheError
    from cloche.http.server import Server
    from cloche_codegen import GraphError

    tell_of_compiling()
    try:
        workflows = find_workflows(file)
        app = Cloche(store, workflows=workflows, drain_timeout_s=DRAIN_S, handle_sigterm=False)
        server = Server.of(socket_fd)

        async def whole(leaving: Leaving) -> int:
            async with app:
                leaving.watch(app)
                await app.prewarm()
                os.write(says, b"1")
                if await _is_to_serve(go, leaving):
                    if beginning == "first":
                        await app.start(workflows[0], FIRST_INPUT, run_id=FIRST_RUN)
                    await _tell(app, file, store, server.url, beginning, as_json=as_json)
                    await _serve(app, server, leaving, says)
            return 0

        sys.exit(run_to_end(whole, DRAIN_S, lambda code: code))
    except (ClocheError, GraphError) as error:
        sys.exit(exit_code_of(error, as_json=as_json))


async def _is_to_serve(go: int, leaving: Leaving) -> bool:
    """Wait for the word of the process that started this one. Its silence asks to end, from then on too."""
    is_told, loop = asyncio.Event(), asyncio.get_running_loop()

    def hear() -> None:
        while os.read(go, 1):
            loop.call_soon_threadsafe(is_told.set)
        leaving.ask()

    threading.Thread(target=hear, name="cloche-dev", daemon=True).start()
    waits = [asyncio.create_task(one.wait()) for one in (is_told, leaving.asked)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()
    return is_told.is_set()


async def _serve(app: Cloche, server: Server, leaving: Leaving, says: int) -> None:
    from cloche import http

    serving = asyncio.create_task(server.run(http.app(app, auth=http.local, **LOCAL_RATES)))
    asked = asyncio.create_task(leaving.asked.wait())
    await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not serving.done():
        server.end()
    os.close(says)  # it takes no more requests
    await serving


async def _tell(app: Cloche, file: str, store: str, url: str, beginning: str, *, as_json: bool) -> None:
    from cloche.cli.output import print_json

    names = [workflow.id for workflow in app.workflows]
    if as_json:
        print_json({"event": beginning, "url": url, "store": store, "workflows": names})
    elif beginning == "again":
        pinned = await _pinned(app)
        kept = f"; open runs that go on under the code that they began with: {pinned}" if pinned else ""
        click.echo(f"loaded {file} again: new runs take it{kept}")
    else:
        click.echo(f"{url} serves {', '.join(names)} of {file}: open it in a browser; Ctrl-C ends it")
        rows = await app.list(limit=LISTED)
        more = " or more" if len(rows) == LISTED else ""
        if beginning == "first":
            _tell_first(store)
        elif rows:
            click.echo(f"runs in the store: {len(rows)}{more}; see them with 'cloche runs --store {store}'")
        else:
            ask = f"curl -s {url}/v1/workflows/{names[0]}/runs -H 'Content-Type: application/json'"
            click.echo(f"to start one: {ask} -d '{{\"input\": null}}'")


def _tell_first(store: str) -> None:
    click.echo(f"run {FIRST_RUN} has begun, and will ask you something:")
    click.echo(f"  cloche show {FIRST_RUN} --store {store}")
    click.echo(f"  cloche resume {FIRST_RUN} --data '{ANSWER}' --store {store}")
    click.echo("press Ctrl-C while it sleeps, and call 'cloche dev' again: it goes on where it was")


async def _pinned(app: Cloche) -> int:
    """How many of the newest runs are open, and of other code than the workflows have now."""
    from cloche.status import FINAL

    now = app.codes()
    return sum(row.status not in FINAL and row.code not in now for row in await app.list(limit=LISTED))


if __name__ == "__main__":
    main()
