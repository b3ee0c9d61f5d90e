"""What every command shares: the group, `--json`, errors as messages, exit codes, options."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from cloche.client import Client
    from cloche.history.ids import RunKey
    from cloche.operations.stores import Store

EXIT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_NOT_FOUND, EXIT_STORE, EXIT_OWN_FAULT, EXIT_NOT_ENDED = (
    1,
    2,
    3,
    4,
    5,
    70,
    75,
)

TOKEN = "CLOCHE_TOKEN"  # in the environment, and never in an argument, which other users of the machine can read
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


TASKS = {  # the help lists commands by what somebody wants to do; a command that is not here stands under "Other"
    "Write and try a workflow": ("dev", "run", "compile", "graph", "codegen", "replay"),
    "Execute runs": ("worker", "serve", "token", "webhook"),
    "Look at runs": ("runs", "show", "failures", "top", "limits", "log", "audit", "usage"),
    "Move a run on": ("resume", "event", "cancel", "retry", "bulk"),
    "Begin runs at set times": ("schedule",),
    "Change the code of open runs": ("check", "upgrade", "deploy"),
    "Hold tenants back": ("tenant",),
    "Look after a store": ("verify", "export", "import", "backup", "prune", "sign", "migrate"),
    "This installation": ("doctor", "warm", "explain", "completion", "bench"),
}


class _ByTask(click.Group):
    """The commands under the task that each is for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        named = [name for names in TASKS.values() for name in names if name in self.commands]
        return [*named, *(name for name in self.commands if name not in named)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = {name for names in TASKS.values() for name in names}
        others = tuple(name for name in self.commands if name not in named)
        for title, names in {**TASKS, "Other": others}.items():
            there = [(name, self.commands[name]) for name in names if name in self.commands]
            if there:
                with formatter.section(title):
                    formatter.write_dl([(name, one.get_short_help_str(limit=96)) for name, one in there])


@click.group(cls=_ByTask, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="cloche", prog_name="cloche")
def main() -> None:
    """Durable workflows under glass. 'cloche COMMAND --help' has an example of each.

    \b
    TARGET is path/to/file.py:name, package.module:name, a graph's .json with --steps, or path/to/flow.ts:name (.js).
    The name is a workflow's, or that of a Cloche, which says itself what it executes and where.
    Exit codes: 0 success · 1 the run failed or was canceled · 2 wrong use or bad input · 3 divergence or
    failed verification · 4 not found · 5 store unavailable or in use · 75 not ended, and not followed.
    """


def command(function: F) -> F:
    """A command with `--json`, whose errors are messages and exit codes, never tracebacks."""

    @main.command(function.__name__.rstrip("_"), help=function.__doc__)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one a line for lists.")
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> None:
        from cloche.errors import ClocheError
        from cloche_codegen import GraphError

        try:
            code = function(*args, **options)
        except (ClocheError, GraphError) as error:
            sys.exit(exit_code_of(error, options["as_json"]))
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe went away: that is its right
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except Exception as error:
            if "CLOCHE_DEBUG" in os.environ:
                raise
            sys.exit(_own_fault(error))
        sys.exit(code or 0)

    return call  # type: ignore[return-value]


store_option = click.option(
    "--store",
    envvar="CLOCHE_STORE",
    default="cloche.db",
    show_default=True,
    help="The store's file, its URL, or that of a server, http://… (CLOCHE_STORE; CLOCHE_TOKEN has the token).",
)
own_store_option = click.option(  # of commands that execute: there is no server in between
    "--store",
    envvar="CLOCHE_STORE",
    default="cloche.db",
    show_default=True,
    help="The store's file, or its URL, postgresql://… (CLOCHE_STORE).",
)
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose runs.")
steps_option = click.option("--steps", help="Python file with the steps of a .json, .ts or .js TARGET.")
node_steps_option = click.option(
    "--node-steps", metavar="FILE", help="JavaScript with the steps of a .ts or .js TARGET, which Node.js performs."
)


def target_argument(name: str = "target", **more: Any) -> Callable[[F], F]:
    """The argument TARGET; a shell completes it as the name of a file."""
    return click.argument(name, shell_complete=_files, **more)


def _files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def say(text: str) -> None:
    """On standard error: that there is nothing, or what happens. Standard output stays what programs read."""
    click.echo(text, err=True)


def _own_fault(error: Exception) -> int:
    click.echo(
        f"{click.style('error', fg='red')}: a fault in cloche itself: {error!r}; please report it "
        "(CLOCHE_DEBUG=1 shows the traceback)",
        err=True,
    )
    return EXIT_OWN_FAULT


def exit_code_of(error: Exception, as_json: bool) -> int:
    """Say what is wrong; the exit code."""
    from cloche.cli.output import print_json
    from cloche.text import shown

    code = getattr(error, "code", "graph")
    message = str(error)
    if as_json:
        print_json({"error": {"code": code, "message": message}})
    else:
        click.echo(f"{click.style('error', fg='red')}: {_lines(shown, message)}", err=True)
    return code_of(error)


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    from cloche import errors

    match error:
        case errors.NotFound():
            return EXIT_NOT_FOUND
        case errors.StoreError():
            return EXIT_STORE
        case errors.HistoryError():
            return EXIT_DIVERGED
        case errors.GuestFault() | errors.RunFailed():
            return EXIT_FAILED
        case _:
            return EXIT_USAGE


def _lines(clean: Callable[[str], str], text: str) -> str:
    return "\n".join(clean(line) for line in text.splitlines())


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the part of a command gives that waits: each command is one event loop."""
    import asyncio

    return asyncio.run(work)


def tell_of_compiling() -> None:
    """From here on say on standard error when a guest is compiled: for seconds nothing else moves."""
    import logging

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"{logging.getLevelName(record.levelno).lower()}: {record.getMessage()}", err=True)

    sandbox = logging.getLogger("cloche.sandbox")
    if not sandbox.hasHandlers():  # whoever has set logging up is told there
        sandbox.setLevel(logging.INFO)
        sandbox.addHandler(Teller())


def look(store: str, question: Callable[[Store], Awaitable[T]], *, must_exist: bool = True) -> T:
    """What comes of a look at a store, which is opened for it; nobody's execution is disturbed."""
    from cloche.operations import stores

    async def whole() -> T:
        async with stores.opened(store, must_exist=must_exist) as found:
            return await question(found)

    return run(whole())


def ask(store: str, tenant: str, question: Callable[[Client], Awaitable[T]]) -> T:
    """What a client of the store answers, which is opened for this question."""
    from cloche.client import Client
    from cloche.operations.stores import is_server

    async def whole() -> T:
        token = os.environ.get(TOKEN) if is_server(store) else None
        async with Client(store, tenant=tenant, must_exist=True, token=token) as client:
            return await question(client)

    return run(whole())


def user() -> str:
    """Who runs this command, for the audit log."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def key_of(run_id: str, tenant: str) -> RunKey:
    from cloche.history.ids import run_key

    return run_key(run_id, tenant)


def read_file(name: str, what: str) -> bytes:
    """A file's bytes, or standard input for `-`.

    Raises:
        InvalidInput: it cannot be read.
    """
    from cloche.errors import InvalidInput

    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{what} {name} cannot be read: {error.strerror}", path="") from error


def opened_file(name: str, what: str) -> BinaryIO:
    """A file to read, which may be large; what comes by standard input for `-` is kept in memory.

    Raises:
        InvalidInput: it cannot be read.
    """
    from cloche.errors import InvalidInput

    if name == "-":
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InvalidInput(f"{what} {name} cannot be read: {error.strerror}", path="") from error


def json_input(text: str, option: str) -> Any:
    """The value of an option that takes JSON, `@file` or `-`.

    Raises:
        InvalidInput: it cannot be read, or is not JSON.
    """
    from cloche.errors import InvalidInput

    source = option
    if text == "-" or text.startswith("@"):
        source = "standard input" if text == "-" else text[1:]
        data: str | bytes = read_file(text.removeprefix("@"), "the input file")
    else:
        data = text
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        is_bare = data is text and re.fullmatch(r"[^\W\d][\w-]*", text)  # as in `--input tea`
        quoted = f"; a text has quotes: {option} '\"{text}\"'" if is_bare else ""
        raise InvalidInput(f"{source} is not JSON: {error}{quoted}", path="") from error
