"""The host's end of one process with cells: how it is asked, and ended. It belongs to one tenant for all its life."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from contextlib import suppress
from itertools import chain

from cloche.errors import CellGone, CellLost, GuestUnavailable
from cloche.sandbox import Limits
from cloche.sandbox.process.grants import Grants, limit_cpu, seen
from cloche.sandbox.process.lockdown import Confinement
from cloche.sandbox.process.namespaces import KINDS
from cloche.sandbox.process.started import Interpreter
from cloche.sandbox.process.wire import Answer, Channel, Ended, Op, ProtocolError, Status, Timeout, dropping, request

LANES = min(os.cpu_count() or 2, 16)  # turns that may take long, at one time: as many as the host has threads for
LIGHT_WAIT_S = 0.05  # a light turn is stopped by the process itself after less than half of it
START_S_MAX = 30.0
TEXT_BYTES_MAX = 64 << 10  # of an answer that says what went wrong

log = logging.getLogger("cloche.sandbox")


class Child:
    """A process that is ready to be asked. `patience_s` is what it is given beyond the time that a question may take, `entry`
    the module that it runs.

    Raises:
        GuestUnavailable: it does not start.
    """

    def __init__(self, patience_s: float, entry: str = "cloche.sandbox.process.serve") -> None:
        self._patience_s = patience_s
        self.guests: set[str] = set()  # that it has loaded,
        self.codes: set[tuple[str, str, Limits]] = set()  # and the images: guest, digest of source, limits
        self.started_at = self.used_at = time.monotonic()
        self._is_leaving = False
        ours, theirs = _pairs(1 + LANES)
        self._light, *heavy = map(Channel, ours)
        self._light_lock = threading.Lock()
        self._is_late = False  # a light turn was not answered in time
        self._heavy: queue.SimpleQueue[Channel] = queue.SimpleQueue()
        for channel in heavy:
            self._heavy.put(channel)
        self._interpreter = Interpreter(theirs, self._close_channels, entry)
        self._grants = Grants(self._interpreter.group)
        self.confinement = self._greeted()

    @property
    def pid(self) -> int:
        return self._interpreter.pid

    @property
    def has_ended(self) -> bool:
        return self._interpreter.has_ended

    @property
    def is_at_work(self) -> bool:
        return self._heavy.qsize() < LANES or self._light_lock.locked()

    def _greeted(self) -> Confinement:
        """The first message: what the kernel agreed to when the process locked itself up."""
        self._light.number()
        try:
            landlock, seccomp, *left = self._light.receive_late(START_S_MAX, 2 + len(KINDS)).body
        except (Ended, ProtocolError, Timeout, ValueError) as error:
            self.end()
            raise GuestUnavailable(
                "a process for cells did not start: CLOCHE_DEBUG=1 shows what it says; without it, cells can live "
                "in this process (SandboxEngine, --isolation thread)"
            ) from error
        own = {name for name, is_left in zip(KINDS, left, strict=True) if is_left}
        if self._interpreter.has_own_ids:
            own.add("pid")
        has_group = self._interpreter.group is not None
        user, capabilities = seen(self.pid)
        confinement = Confinement(landlock, bool(seccomp), frozenset(own), has_group, user, capabilities)
        if not confinement.is_closed:
            log.warning(
                "the kernel locks no process up: those with cells can reach files and network, if they are broken"
            )
        return confinement

    def end(self) -> None:
        """Kill it, and wait until nothing of it is left. Safe to call more than once, from any thread."""
        self._interpreter.end()

    def leave(self) -> None:
        """Have it take no more questions: who asks is told that it has gone. Those under way are answered."""
        self._is_leaving = True

    def admit(self, memory_bytes: int) -> int:
        """The number of a new cell, whose memory it may write to from now on."""
        return self._grants.add(memory_bytes, None if self.has_ended else self.pid)

    def allow_cpu(self, seconds: float) -> None:
        """It is ended once it has used so much more CPU than until now."""
        limit_cpu(self.pid, seconds)

    def forget(self, cell: int) -> None:
        """The cell is not used any more; the next question tells the process. Takes no lock."""
        self._grants.drop(cell)

    # ---- questions ----

    def ask(
        self, op: Op, cell: int, body: bytes, count: int, *, wait_s: float, bytes_max: int, then: bytes = b""
    ) -> Answer:
        """As `light`, for what may take `wait_s` and more: from any thread, which waits. `then` is the end of a large body,
        which is not copied.

        Raises:
            CellGone: it had ended before it was asked.
            CellLost: it ended, or did not answer, and was ended for it.
        """
        if self._is_late:
            self._wait_for_late()
        if self.has_ended or self._is_leaving:
            raise gone()
        channel = self._heavy.get()
        try:
            if (
                self._is_leaving
            ):  # from now on it is at work, so nobody ends it; but it may have been at rest a moment ago
                raise gone()
            return self._asked(channel, op, cell, body, count, wait_s + self._patience_s, bytes_max, then)
        except Timeout:
            self.end()
            raise CellLost(
                f"the process of the workflow's cell did not answer within {wait_s + self._patience_s:.1f} s and was ended"
            ) from None
        finally:
            self._heavy.put(channel)
            if self.has_ended:
                self._close_idle()

    def _close_idle(self) -> None:
        """Close the channels that no thread uses. They stay in the queue, so a thread that waits for one finds it closed."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._heavy.get_nowait())
        for channel in idle:
            channel.close()
            self._heavy.put(channel)

    def light(self, op: Op, cell: int, body: bytes, count: int, *, bytes_max: int) -> Answer | None:
        """The answer, if it can be had within a few milliseconds; None if nothing was asked. For the event loop's thread.

        Raises:
            Timeout: it did not come; the cell is spoilt.
            CellGone, CellLost: as `ask`.
        """
        if self._is_late or not self._light_lock.acquire(blocking=False):
            return None
        try:
            if self.has_ended or self._is_leaving:
                raise gone()
            return self._asked(self._light, op, cell, body, count, LIGHT_WAIT_S, bytes_max)
        except Timeout:
            self._is_late = True
            raise
        finally:
            self._light_lock.release()

    def _asked(
        self,
        channel: Channel,
        op: Op,
        cell: int,
        body: bytes,
        count: int,
        wait_s: float,
        bytes_max: int,
        then: bytes = b"",
    ) -> Answer:
        self.used_at = time.monotonic()
        dropped = self._grants.take_dropped()
        asked = request(op, channel.number(), cell, body, count, len(then))
        data = dropping(dropped) + asked if dropped else asked
        try:
            answer = channel.ask(data, wait_s, max(bytes_max, TEXT_BYTES_MAX), then)
        except Ended as ended:
            self.end()
            raise (self._died() if ended.was_asked else gone()) from None
        except ProtocolError as error:
            self.end()
            raise CellLost(f"the process of the workflow's cell answered out of form and was ended: {error}") from None
        if answer.status is Status.BROKEN:
            self.end()
            raise CellLost(f"the process of the workflow's cell went wrong: {answer.body.decode(errors='replace')!r}")
        return answer

    def _wait_for_late(self) -> None:
        """A light turn was not answered: either it is now, or the process hangs."""
        with self._light_lock:
            if not self._is_late or self.has_ended:
                return
            try:
                self._light.receive_late(self._patience_s, 1 << 30)
                self._is_late = False
            except (Timeout, Ended, ProtocolError):
                log.warning("process %d does not answer and is ended", self.pid)
                self.end()

    def _died(self) -> CellLost:
        """What to say of it: by a signal, most likely."""
        how = self._interpreter.how_it_ended()
        return CellLost(f"the process of the workflow's cell ended while it was at work ({how})")

    def _close_channels(self) -> None:
        self._close_idle()
        with self._light_lock:
            self._light.close()


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
