"""Starting an interpreter for cells, and waiting for its end."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from cloche.sandbox.process import cgroups, namespaces
from cloche.sandbox.process.cgroups import Group
from cloche.sandbox.process.lockdown import HEEDED

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from ENTRY import main; main(sys.argv[2:])"

log = logging.getLogger("cloche.sandbox")


class Interpreter:
    """A fresh interpreter that serves cells on the given sockets, which are closed here once it has them.

    A thread of its own starts it and waits for its end: the kernel ends a process with the thread that started it
    (`lockdown.die_with`), so the event loop's or a pool's thread must not be that one; and a process that was waited for leaves
    no zombie behind. `on_end` is called in that thread. `entry` is the module whose `main` it runs.
    """

    def __init__(self, sockets: list[socket.socket], on_end: Callable[[], None], entry: str) -> None:
        self.has_ended = self.has_own_ids = False
        self.group: Group | None = None
        self._entry = entry
        self._sockets = sockets
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._begun, self._reaped = threading.Event(), threading.Event()
        threading.Thread(target=self._keep, name="cloche-keeper", daemon=True).start()
        self._begun.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """Kill it, and wait until nothing of it is left."""
        self.has_ended = True
        if self._process is not None:
            self._process.kill()
        self._reaped.wait()

    def how_it_ended(self) -> str:
        """In words for a message; it has ended."""
        code = self._process.returncode if self._process is not None else None
        if self.has_own_ids and code in HEEDED:  # its handlers say so (`lockdown.heed_signals`)
            code = -code
        return f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"

    def _keep(self) -> None:
        try:
            self.has_own_ids = namespaces.begin_with_own_ids()
            self._process = self._start([one.fileno() for one in self._sockets])
            self.group = _group_for(self._process.pid)
        except OSError as error:
            log.error("no process for cells can be started: %s", error)
        finally:
            for one in self._sockets:
                one.close()
            self._begun.set()
        if self._process is not None:
            self._process.wait()
        if self.group is not None:
            self.group.remove()
        self.has_ended = True
        self._reaped.set()
        self._on_end()

    def _start(self, numbers: list[int]) -> subprocess.Popen[bytes]:
        """Nothing of this process but the sockets goes along: no environment, no other file, no terminal."""
        path = json.dumps([os.path.abspath(one) for one in sys.path])
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _BOOT.replace("ENTRY", self._entry),
                path,
                str(os.getpid()),
                *map(str, numbers),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if "CLOCHE_DEBUG" in os.environ else subprocess.DEVNULL,
            pass_fds=numbers,
            env={},
            cwd="/",
            start_new_session=True,
        )


def _group_for(pid: int) -> Group | None:
    """A control group with the process in it, where such can be had."""
    parent = cgroups.delegated()
    if parent is None:
        return None
    try:
        group = Group(parent)
    except OSError as error:
        log.warning("process %d has no control group of its own: %s", pid, error)
        return None
    if group.take(pid):
        return group
    group.remove()
    return None
