"""The process with cells: started by its host with nothing but a few sockets, it locks itself up and does as it is asked.

One thread serves light turns and never waits for the others, which serve what may take long: the two lanes of the host go on in
here. A cell is asked for one thing at a time; that is the host's care. There is no way back to files, so the guest comes as
compiled code and the workflow as source.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from cloche.errors import CellBusy, GuestFault, HeavyTurn, InvalidInput
from cloche.history.failures import Failure
from cloche.history.limits import Limits
from cloche.history.values import decode, encode
from cloche.sandbox.artefacts import loaded
from cloche.sandbox.cells import Cell, mapped_images
from cloche.sandbox.engine import engine
from cloche.sandbox.images import BaseImage, load_image
from cloche.sandbox.process import lockdown, namespaces
from cloche.sandbox.process.wire import Op, Request, Served, Status, answer

DIGEST_BYTES = 64
TEXT_CHARS_MAX = 4_000


def main(arguments: Sequence[str], serving: Callable[[], Cells] | None = None) -> None:
    """Serve until the host is gone. `arguments`: the host's process id, and the sockets' numbers, that for light turns first.

    The order matters: namespaces are left before there is a second thread. The ticker's thread and the serving threads start
    before limits and seccomp forbid new threads, and Landlock comes before them, because it holds for the thread that asks for
    it and those that it starts later.
    """
    parent, *numbers = map(int, arguments)
    lockdown.die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channels = [socket.socket(fileno=number) for number in numbers]
    lockdown.heed_signals()
    lockdown.raise_oom_score()
    left = namespaces.leave()
    lockdown.drop_privileges(parent)
    mapped_images.make_at_once()
    engine().start()
    landlock = lockdown.close_files()
    cells = (serving or Cells)()
    for channel in channels[1:]:
        threading.Thread(target=_serve, args=(cells, channel), daemon=True).start()
    lockdown.limit()
    seccomp = lockdown.filter_calls()
    channels[0].sendall(
        answer(Status.DONE, 1, body=bytes((landlock, seccomp, *(name in left for name in namespaces.KINDS))))
    )
    _serve(cells, channels[0])
    os._exit(0)


def _serve(cells: Cells, channel: socket.socket) -> None:
    served = Served(channel)
    while (asked := served.next()) is not None:
        if asked.op is Op.DROP:
            cells.drop(asked.cells())
        else:
            served.send(cells.answer(asked))


class Cells:
    """The cells of this process by the numbers that the host gave them, and the guests they are made of by digest."""

    def __init__(self) -> None:
        self._bases: dict[str, BaseImage] = {}
        self._cells: dict[int, Cell] = {}
        self._frozen: dict[tuple[int, int], Callable[[], tuple[str, bytes]]] = {}  # by cell and number of the copy
        self._operations: dict[Op, Callable[[Request], bytes]] = {
            Op.GUEST: self._guest,
            Op.OPEN: self._open,
            Op.TURN: lambda asked: self._cells[asked.cell].turn(asked.events()),
            Op.LIGHT_TURN: lambda asked: self._cells[asked.cell].turn(asked.events(), light=True),
            Op.FREEZE: self._freeze,
            Op.PACK: self._pack,
            Op.STATE_HASH: lambda asked: self._cells[asked.cell].state_hash().encode(),
        }

    def answer(self, asked: Request) -> bytes:
        cell = self._cells.get(asked.cell)
        before = cell.fuel_used if cell is not None else 0
        try:
            body = self._operations[asked.op](asked)
        except HeavyTurn:
            return answer(Status.HEAVY, asked.number)
        except CellBusy:
            return answer(Status.BUSY, asked.number)
        except (GuestFault, InvalidInput) as fault:
            return answer(Status.FAULT, asked.number, body=_packed(fault))
        except Exception as error:
            return answer(Status.BROKEN, asked.number, body=repr(error)[:TEXT_CHARS_MAX].encode(errors="replace"))
        if cell is None:
            return answer(Status.DONE, asked.number, body=body)
        return answer(Status.DONE, asked.number, cell.fuel_used - before, cell.resident_bytes, body)

    def drop(self, cells: Sequence[int]) -> None:
        for number in cells:
            self._cells.pop(number, None)
        gone = set(cells)
        for key in [key for key in self._frozen if key[0] in gone]:
            del self._frozen[key]

    def _guest(self, asked: Request) -> bytes:
        digest = asked.body[:DIGEST_BYTES].decode()
        self._bases[digest] = BaseImage(digest, asked.body[DIGEST_BYTES:], loaded)
        return b""

    def _open(self, asked: Request) -> bytes:
        wire: dict[str, Any] = decode(asked.body)
        limits = Limits.from_data(wire["limits"])
        image = load_image(self._bases[wire["guest"]], wire["source"], limits)
        frozen: bytes = wire["frozen"]
        self._cells[asked.cell] = Cell.thaw(image, limits, frozen) if frozen else Cell(image, limits)
        return b""

    def _freeze(self, asked: Request) -> bytes:
        self._frozen[asked.cell, asked.event_count] = self._cells[asked.cell].freeze()
        return b""

    def _pack(self, asked: Request) -> bytes:
        state_hash, frozen = self._frozen.pop((asked.cell, asked.event_count))()
        return state_hash.encode() + frozen


def _packed(fault: GuestFault | InvalidInput) -> bytes:
    head = [fault.code, fault.message[:TEXT_CHARS_MAX]]
    failure: Failure | None = fault.facts.get("failure")
    facts = {name: fault.facts[name] for name in ("asked", "limit", "value") if name in fault.facts}
    try:
        return encode([*head, {**facts, "failure": failure.to_wire()} if failure else facts])
    except Exception:  # its data is of a kind that would need what cannot be loaded any more
        return encode([*head, facts])
