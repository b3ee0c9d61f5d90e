"""Large messages, looked at in a cell that never runs a workflow: the guest's own code, at a hundred times Python's speed.

What it says is trusted as the compiled guest is: it is cloche's own, of this version, whatever guest a run is pinned to. The
cell is made beside the turns, when the first large message comes, and never waited for: till then, and where the guest is not
built, Python looks.
"""

from __future__ import annotations

import ctypes
import logging
import struct
from collections.abc import Iterable
from concurrent.futures import Future
from functools import cache
from threading import Lock, Thread

import cloche_guest
from cloche.errors import GuestUnavailable
from cloche.history.limits import Limits
from cloche.sandbox.images import base_image
from cloche.sandbox.wasmtime_calls import bind, memory_address

_FOUND = struct.Struct("<3I")
_NEVER = 1 << 62  # of fuel, and of epochs

log = logging.getLogger("cloche.sandbox")


class Checker:
    """One cell, for one thread at a time.

    Raises:
        GuestUnavailable: the guest is not here, and this is no time to build it.
    """

    def __init__(self) -> None:
        guest = cloche_guest.find_guest("javascript")
        if guest is None:
            raise GuestUnavailable("the JavaScript guest is not built: make guest")
        base = base_image(guest.digest, guest.wasm)
        self._layout = base.layout
        self._wasm_store, instance = base.instantiate(Limits())
        self._wasm_store.set_epoch_deadline(_NEVER)
        self._address = memory_address(self._wasm_store, instance)
        self._check = bind(self._wasm_store, instance, b"check")
        self._lock = Lock()

    def walk(self, data: bytes) -> Iterable[tuple[int, int, int]] | None:
        """Of each item of a CBOR sequence where it ends, how many items are in it, and how deep they lie below it.

        None if something is not in the grammar, or is more than fits: `cloche.history.check` says what and where.
        """
        layout = self._layout
        if len(data) > layout.input_bytes:
            return None
        with self._lock:
            ctypes.memmove(self._address + layout.input_at, data, len(data))
            self._wasm_store.set_fuel(_NEVER)
            count = self._check(len(data))
            if count < 0:
                return None
            return _FOUND.iter_unpack(ctypes.string_at(self._address + layout.output_at, count * _FOUND.size))


def walk(data: bytes) -> Iterable[tuple[int, int, int]] | None:
    """`Checker.walk` of this process's checker; None while there is none."""
    made = checker()
    return made.result().walk(data) if made.done() and made.exception() is None else None


@cache
def checker() -> Future[Checker]:
    """That of the process: begun when it is first needed, there some milliseconds later."""
    made: Future[Checker] = Future()

    def make() -> None:
        try:
            made.set_result(Checker())
        except Exception as error:
            log.warning("large messages are checked in Python, which takes twenty times as long: %s", error)
            made.set_exception(error)

    Thread(target=make, name="cloche-checker", daemon=True).start()
    return made
