"""Pre-patched images: an image with many pages, written into a copy of its guest's compiled artefact.

A cell is then the artefact's own copy-on-write memory, and no page of the image is copied (616 pages of a Python workflow:
2.0 ms and 2.5 MB a cell by pages, 0.06 ms and none so). Nothing is compiled: native code stays that of the guest, only the
bytes of its one data segment are others. That wasmtime lays them out in one piece is no promise, so they are searched, and a
cell made from the patched artefact is compared with the image before any other is. Where anything of this fails, cells are made
by pages as before. A thread of its own does it, for the workflows used most: 100 MB are searched, copied and compared without
the interpreter's lock, or the event loop would stand still for 0.2 s.
"""

from __future__ import annotations

import ctypes
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import wasmtime

from cloche.history.limits import Limits
from cloche.sandbox.artefacts import private_directory
from cloche.sandbox.engine import engine
from cloche.sandbox.images import BaseImage, Image
from cloche.sandbox.layout import copy_state
from cloche.sandbox.wasmtime_calls import (
    find_in_memory,
    memory_address,
    memory_bytes,
    same_in_memory,
    serialized,
)

PAGES_MIN: Final = 64  # below this, copying pages is as good
CELLS_MIN: Final = 3  # a workflow that ran this often will again
PIECE_BYTES: Final = 1 << 20
PATCHED_MAX: Final = 8  # each is a mapped file of the artefact's size, shared with nothing

log = logging.getLogger("cloche.sandbox")


@dataclass(frozen=True, slots=True)
class PatchedImage:
    """What cells of an image are made from: a module whose memory begins with the image, and what comes after that."""

    pre: wasmtime.InstancePre
    pages: tuple[tuple[int, bytes], ...]


class PatchedImages:
    """The pre-patched images of a process, by digest. `start` runs the making of one (tests run it at once)."""

    def __init__(self, start: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._start = start or _on_a_thread
        self._patched: OrderedDict[str, PatchedImage] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._unfit: set[str] = set()  # digests of guests whose artefact is laid out otherwise
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Make no more of them: for a process that can write no file and start no thread."""
        self._start = lambda _: None

    def find(self, image: Image) -> PatchedImage | None:
        """What to make a cell of `image` from, if it is pre-patched. It is patched once this was asked `CELLS_MIN` times."""
        if len(image.pages) == 0 or image.page_count < PAGES_MIN:
            return None
        with self._lock:
            if found := self._patched.get(image.digest):
                self._patched.move_to_end(image.digest)
                return found
            asked = self._asked[image.digest] = self._asked.pop(image.digest, 0) + 1
            if len(self._asked) > 1024:
                self._asked.popitem(last=False)
            if asked != CELLS_MIN or image.base.digest in self._unfit:
                return None
        self._start(lambda: self._make(image))
        return None

    def _make(self, image: Image) -> None:
        try:
            made = patched(image)
        except (OSError, wasmtime.WasmtimeError) as error:
            log.debug("image %s is not pre-patched: %s", image.digest[:12], error)
            return
        with self._lock:
            if made is None:
                self._unfit.add(image.base.digest)
                return
            self._patched[image.digest] = made
            self._asked.pop(image.digest, None)
            while len(self._patched) > PATCHED_MAX:
                self._patched.popitem(last=False)


def patched(image: Image) -> PatchedImage | None:
    """The base's module with the memory of `image`, or None where wasmtime lays the artefact out otherwise.

    Raises:
        OSError: there is no private directory to write the artefact to.
        WasmtimeError: it does not load.
    """
    before = image.base.state
    size = _without_zeros(before)  # the one data segment; wasmtime keeps no zeros at its end
    state = image.state()
    with serialized(image.base.module) as artefact:
        at = find_in_memory(artefact, before, size)
        if at is None:
            return None
        ctypes.memmove(at, state, size)
        pre = engine().linker.instantiate_pre(_loaded(artefact))
    if not same_in_memory(_new_state(image.base, pre), state, size):
        return None
    rest = state[size : _without_zeros(state)] if len(state) > size else b""
    return PatchedImage(pre, ((size, rest),) if rest else ())


def _without_zeros(data: bytes) -> int:
    """How much of it there is before the zeros at its end, a piece at a time: others have the interpreter between them."""
    end = len(data)
    while end:
        begin = max(end - PIECE_BYTES, 0)
        if kept := len(data[begin:end].rstrip(b"\0")):
            return begin + kept
        end = begin
    return 0


def _new_state(base: BaseImage, pre: wasmtime.InstancePre) -> bytes:
    wasm_store, instance = base.instantiate(Limits(), pre)
    return copy_state(memory_address(wasm_store, instance), memory_bytes(wasm_store, instance), base.layout)


def _loaded(artefact: memoryview) -> wasmtime.Module:
    """From a file, which wasmtime maps instead of copying it. The file has no name once it is mapped."""
    with tempfile.NamedTemporaryFile(dir=private_directory(), suffix=".patched", buffering=0) as file:
        while artefact:  # one write takes two gigabytes at most
            artefact = artefact[file.write(artefact) :]
        return wasmtime.Module.deserialize_file(engine().wasm, str(Path(file.name)))


def _on_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="cloche-patch-image", daemon=True).start()
