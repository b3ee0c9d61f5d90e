"""The command for the first minutes, `dev`: a store, a worker and a server for the workflows of one file.

This process holds the address and watches the files. Another one (`dev_server`) has the workflows: when a file is saved, a new
one is started and takes over when it is ready. Where the file cannot be loaded, the old one goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloche.cli.base import command, node_steps_option, steps_option

if TYPE_CHECKING:
    from cloche.http.server import Server

FIRST = Path(__file__).with_name("first_workflow.py")
STORE = ".cloche/dev.db"
LEAVES_S = 30.0  # for a process with workflows to end after it was told to
LOOK_MS = 200


@command
@click.argument("file", default="hello.py", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--store", default=STORE, show_default=True, help="The store's file, or its URL.")
@click.option("--port", default=4700, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@steps_option
@node_steps_option
def dev(file: Path, store: str, port: int, steps: str | None, node_steps: str | None, as_json: bool) -> int:
    """Write a workflow and watch it run: a store, a worker and a server for the workflows of FILE.

    Where there is no FILE, a first workflow is written and started. A file that is saved is loaded again: new runs take the new
    code, open ones go on under the code that they began with. Ctrl-C ends it; the runs are there the next time.

    \b
    Example:
      cloche dev
      cloche dev orders.py --port 4800
      cloche dev flow.ts --steps steps.py
    """
    from cloche.errors import UsageError
    from cloche.http.server import Server
    from cloche.operations.typescript import is_script

    try:
        from watchfiles import DefaultFilter, PythonFilter, watch
    except ModuleNotFoundError as missing:
        raise UsageError("watching files needs an optional part: pip install 'cloche[server]'") from missing
    names = DefaultFilter() if is_script(file) else PythonFilter()
    looks = partial(watch, watch_filter=names, rust_timeout=LOOK_MS, yield_on_timeout=True)
    with contextlib.closing(Server("127.0.0.1", port)) as server:
        is_first = not file.exists()
        if is_first and is_script(file):
            raise UsageError(f"there is no file {file}: a first workflow is written in Python, by 'cloche dev'")
        if is_first:
            file.write_text(FIRST.read_text("utf-8"), "utf-8")
            click.echo(f"wrote {file}: a first workflow, yours to change", err=True)
        if store == STORE:
            _make_folder(Path(store).parent)
        given = [*(("--steps", steps) if steps else ()), *(("--node-steps", node_steps) if node_steps else ())]
        _Reloading(file, store, server, given, as_json=as_json).run(looks, is_first=is_first)
    return 0


def _make_folder(folder: Path) -> None:
    """For what is of this machine, and not for version control."""
    folder.mkdir(exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", "utf-8")


class _Child:
    """A process with the workflows as the files say them. It serves when it is told to, and ends when the way on which it is
    told that is closed: also where this process dies."""

    def __init__(self, command: Sequence[str], socket: int) -> None:
        (said, says), (go, told) = os.pipe(), os.pipe()
        ends = ["--socket", str(socket), "--says", str(says), "--go", str(go)]
        # Not in the terminal's group: Ctrl-C would interrupt it in the midst of loading, and is passed on to it else.
        self.process = subprocess.Popen([*command, *ends], pass_fds=(socket, says, go), process_group=0)
        os.close(says)
        os.close(go)
        self._said = open(said, "rb", buffering=0)  # noqa: SIM115
        self._told = open(told, "wb", buffering=0)  # noqa: SIM115

    def is_ready(self) -> bool:
        """Wait until it could serve. False: it has ended instead."""
        return bool(self._said.read(1))

    def serve(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has just ended, which is told in its time
            self._told.write(b"1")

    def stop(self) -> None:
        """Tell it to end, and wait until it takes no more requests. What it has under way goes on for a while."""
        self._told.close()
        self._said.read()
        self._said.close()

    def end(self, seconds: float) -> None:
        """Wait until it has ended; by force when it takes longer."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Reloading:
    """Has one child that serves, and replaces it when files are saved."""

    def __init__(self, file: Path, store: str, server: Server, further: Sequence[str], *, as_json: bool) -> None:
        self._file = file
        self._command = [sys.executable, "-m", "cloche.cli.dev_server", str(file), "--store", store, *further]
        self._command += ["--json"] if as_json else []
        self._socket = server.descriptor
        self._loading: _Child | None = None
        self._serving: _Child | None = None
        self._leaving: list[_Child] = []
        self._is_over = threading.Event()

    def run(self, watch: Callable[..., Iterator[Collection[object]]], *, is_first: bool) -> None:
        """Until Ctrl-C or SIGTERM; then what serves may end as it should. `watch` gives what has changed, often nothing."""
        with self._listening():
            option: str | None = "--first" if is_first else "--found"
            # The first look, at nothing yet, comes when the folder is watched: what is saved from then on is not missed.
            for changes in watch(self._file.resolve().parent, stop_event=self._is_over):
                if option is not None or changes:
                    self._load(option or "--again")
                option = None
                self._tell_of_end()
            if self._serving is not None:
                self._serving.stop()
                self._leaving.append(self._serving)
            for child in self._leaving:
                child.end(LEAVES_S)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Ctrl-C is passed on to the children: they say what they wait for, and end at once at the second one."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        self._is_over.set()
        if self._loading is not None:
            self._loading.process.terminate()
        for child in (self._serving, *self._leaving):
            if child is not None and number == signal.SIGINT:
                child.process.send_signal(number)

    def _load(self, option: str) -> None:
        """Start a child with what the files say now, which takes the place of the one before when it is ready."""
        child = self._loading = _Child([*self._command, option], self._socket)
        is_ready, self._loading = child.is_ready(), None
        if is_ready:
            if self._serving is not None:
                self._serving.stop()
                self._leaving.append(self._serving)
            child.serve()
            self._serving = child
        else:
            child.stop()
            child.end(LEAVES_S)
            if not self._is_over.is_set():
                goes_on = "what was loaded before goes on; " if self._serving is not None else ""
                click.echo(f"{self._file} was not loaded: {goes_on}save it again when it is mended", err=True)
        self._leaving = [one for one in self._leaving if one.process.poll() is None]

    def _tell_of_end(self) -> None:
        if self._serving is not None and self._serving.process.poll() is not None and not self._is_over.is_set():
            click.echo("the process with the workflows has ended: it is started again when a file is saved", err=True)
            self._serving.stop()
            self._serving = None
