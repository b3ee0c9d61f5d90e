"""The host's end of one process with cells: how it is started, asked, and ended. It belongs to one tenant for all its life."""

from __future__ import annotations

import json
import logging
import os
import queue
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import chain

from cloche.errors import CellGone, CellLost, GuestUnavailable
from cloche.sandbox import Limits
from cloche.sandbox.process.lockdown import Confinement
from cloche.sandbox.process.wire import Answer, Ask, Channel, Ended, Nonsense, Said, Silence, dropping, request

LANES = min(os.cpu_count() or 2, 16)  # turns that may take long, at one time: as many as the host has threads for
LIGHT_WAIT_S = 0.05  # a light turn is stopped by the process itself after less than half of it
START_S_MAX = 30.0
TEXT_BYTES_MAX = 64 << 10  # of an answer that says what went wrong
OWN_BYTES = 512 << 20  # what a process may write to besides its cells
COPIES = 4  # of a cell's memory, while it is frozen
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from cloche.sandbox.process.serve import main; main(sys.argv[2:])"
)

log = logging.getLogger("cloche.sandbox")


class Child:
    """A process that is ready to be asked.

    A thread of its own starts it and waits for its end: the kernel ends a process with the thread that started it, and one that
    has ended leaves nothing behind.

    Raises:
        GuestUnavailable: it does not start.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.guests: set[str] = set()  # that it has loaded,
        self.codes: set[tuple[str, str, Limits]] = set()  # and the images: guest, source, limits
        self.has_ended = False
        self.used_at = time.monotonic()
        self._cells = 0
        self._granted: dict[int, int] = {}  # cell -> most bytes of its memory
        self._dropped: deque[int] = deque()
        self._books = threading.Lock()
        ours, theirs = _pairs(1 + LANES)
        self._light, *heavy = map(Channel, ours)
        self._light_lock = threading.Lock()
        self._is_late = False  # a light turn was not answered in time
        self._heavy: queue.SimpleQueue[Channel] = queue.SimpleQueue()
        for channel in heavy:
            self._heavy.put(channel)
        self._begun, self._reaped = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._keep, args=(theirs,), name="cloche-keeper", daemon=True).start()
        self.confinement = self._greeted()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_at_work(self) -> bool:
        return self._heavy.qsize() < LANES or self._light_lock.locked()

    def _keep(self, sockets: list[socket.socket]) -> None:
        numbers = [one.fileno() for one in sockets]
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _BOOT,
                    json.dumps([os.path.abspath(one) for one in sys.path]),
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
        except OSError as error:
            log.error("no process for cells can be started: %s", error)
        finally:
            for one in sockets:
                one.close()
            self._begun.set()
        if self._process is not None:
            self._process.wait()
        self.has_ended = True
        self._reaped.set()
        self._close_idle()
        with self._light_lock:
            self._light.close()

    def _greeted(self) -> Confinement:
        """What the process says when it has locked itself up."""
        self._begun.wait()
        self._light.number()
        try:
            landlock, seccomp = self._light.settle(START_S_MAX, 2).body
        except (Ended, Nonsense, Silence, ValueError) as error:
            self.end()
            raise GuestUnavailable(
                "a process for cells did not start: CLOCHE_DEBUG=1 shows what it says; without it, cells can live "
                "in this process (SandboxEngine, --isolation thread)"
            ) from error
        confinement = Confinement(landlock, bool(seccomp))
        if not confinement.is_closed:
            log.warning(
                "the kernel locks no process up: those with cells can reach files and network, if they are broken"
            )
        return confinement

    def end(self) -> None:
        """Kill it, and wait until nothing of it is left."""
        self.has_ended = True
        if self._process is not None:
            self._process.kill()
        self._reaped.wait()

    # ---- cells ----

    def admit(self, memory_bytes: int) -> int:
        """The number of a new cell, whose memory it may write to from now on."""
        with self._books:
            self._cells += 1
            self._granted[self._cells] = memory_bytes
            self._limit()
            return self._cells

    def forget(self, cell: int) -> None:
        """The cell is not used any more; the process hears of it with the next question. Takes no lock."""
        self._dropped.append(cell)

    def _limit(self) -> None:
        """What a cell may have by its limits it must get, or replay would not be exact: so the process may have all of it."""
        if sys.platform == "linux" and not self.has_ended:
            most = OWN_BYTES + sum(self._granted.values()) + COPIES * max(self._granted.values(), default=0)
            try:
                resource.prlimit(self.pid, resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
            except (OSError, ValueError):  # it has just ended, or a lower limit is in force here
                log.debug("process %d has no limit of its memory", self.pid)

    def _news(self) -> bytes:
        """The request that goes in front of the next one: which cells are not used any more."""
        if not self._dropped:
            return b""
        cells = []
        while self._dropped:
            cells.append(self._dropped.popleft())
        with self._books:
            for cell in cells:
                self._granted.pop(cell, None)
        return dropping(cells)

    # ---- questions ----

    def ask(self, kind: Ask, cell: int, body: bytes, count: int, *, wait_s: float, bytes_max: int) -> Answer:
        """As `light`, for what may take `wait_s` and more: from any thread, which waits.

        Raises:
            CellGone: it had ended before it was asked.
            CellLost: it ended, or did not answer, and was ended for it.
        """
        if self._is_late:
            self._settle()
        if self.has_ended:
            raise gone()
        channel = self._heavy.get()
        try:
            return self._asked(channel, kind, cell, body, count, wait_s + self._patience_s, bytes_max)
        except Silence:
            self.end()
            raise CellLost(
                f"the process of the workflow's cell did not answer within {wait_s + self._patience_s:.1f} s and was ended"
            ) from None
        finally:
            self._heavy.put(channel)
            if self.has_ended:
                self._close_idle()

    def _close_idle(self) -> None:
        """Close the channels that nobody uses. They stay where they are: whoever waits for one finds out."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._heavy.get_nowait())
        for channel in idle:
            channel.close()
            self._heavy.put(channel)

    def light(self, kind: Ask, cell: int, body: bytes, count: int, *, bytes_max: int) -> Answer | None:
        """The answer, if it can be had within a few milliseconds; None if nothing was asked. For the event loop's thread.

        Raises:
            Silence: it did not come; the cell is spoilt.
            CellGone, CellLost: as `ask`.
        """
        if self._is_late or not self._light_lock.acquire(blocking=False):
            return None
        try:
            if self.has_ended:
                raise gone()
            return self._asked(self._light, kind, cell, body, count, LIGHT_WAIT_S, bytes_max)
        except Silence:
            self._is_late = True
            raise
        finally:
            self._light_lock.release()

    def _asked(
        self, channel: Channel, kind: Ask, cell: int, body: bytes, count: int, wait_s: float, bytes_max: int
    ) -> Answer:
        self.used_at = time.monotonic()
        data = self._news() + request(kind, channel.number(), cell, body, count)
        try:
            answer = channel.ask(data, wait_s, max(bytes_max, TEXT_BYTES_MAX))
        except Ended as ended:
            self.end()
            raise (self._died() if ended.was_asked else gone()) from None
        except Nonsense as error:
            self.end()
            raise CellLost(f"the process of the workflow's cell answered out of form and was ended: {error}") from None
        if answer.status is Said.BROKEN:
            self.end()
            raise CellLost(f"the process of the workflow's cell went wrong: {answer.body.decode(errors='replace')!r}")
        return answer

    def _settle(self) -> None:
        """A light turn was not answered: either it is now, or the process hangs."""
        with self._light_lock:
            if not self._is_late or self.has_ended:
                return
            try:
                self._light.settle(self._patience_s, 1 << 30)
                self._is_late = False
            except (Silence, Ended, Nonsense):
                log.warning("process %d does not answer and is ended", self.pid)
                self.end()

    def _died(self) -> CellLost:
        """What to say of it: by a signal, most likely."""
        code = self._process.returncode if self._process is not None else None
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        return CellLost(f"the process of the workflow's cell ended while it was at work ({how})")


def _pairs(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    pairs: list[tuple[socket.socket, socket.socket]] = []
    try:
        for _ in range(count):
            pairs.append(socket.socketpair())
    except OSError as error:
        for one in chain.from_iterable(pairs):
            one.close()
        raise GuestUnavailable(f"a process for cells cannot be spoken to: {error}") from error
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


def gone() -> CellGone:
    return CellGone("the process of the workflow's cell ended while the cell rested")
