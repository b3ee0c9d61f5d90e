"""Mapped images: an image with many pages, kept once in memory of the kernel's, which cells share until they write.

A cell's memory is then that file mapped privately over the guest's own (616 pages of a Python workflow, 2,600 of a bundle of
600 kB: 2 to 6 ms and 2.5 to 10 MB a cell by pages, a tenth of a millisecond and what it writes so). No native code takes part:
the address is that of a memory which wasmtime has made accessible, and is what pages are written to otherwise. A memory that
was mapped is compared with the image before any other is. Where anything of this fails, cells are made by pages. A thread of
its own does it, for the workflows used most.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import wasmtime

from cloche.history.limits import Limits
from cloche.sandbox.images import Image
from cloche.sandbox.layout import copy_state
from cloche.sandbox.wasmtime_calls import grow, memory_address, memory_bytes, same_in_memory

PAGES_MIN: Final = 64  # below this, copying pages is as good
CELLS_MIN: Final = 3  # a workflow that ran this often will again
MAPPED_MAX: Final = 8  # each is memory of the image's size
PIECE_BYTES: Final = 1 << 20
_MAP_PRIVATE, _MAP_FIXED = 0x02, 0x10  # on Linux and macOS

log = logging.getLogger("cloche.sandbox")


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a memory: `size` bytes of the file from `offset` on belong at `at`."""

    at: int
    offset: int
    size: int


class MappedImage:
    """The image as a file without a name, and the bytes that fill no whole page of it."""

    def __init__(self, image: Image) -> None:
        self._file = _anonymous_file()
        self._close = weakref.finalize(self, os.close, self._file)  # what was mapped stays mapped
        self._parts: list[_Part] = []
        self.edges: list[tuple[int, bytes]] = []  # by where in the memory they lie
        offset, page = 0, mmap.PAGESIZE
        for at, data in image.base.layout.pieces(0, _needed(image)):
            head = min(-at % page, len(data))
            size = (len(data) - head) // page * page
            self.edges += [(at, data[:head]), (at + head + size, data[head + size :])]
            with memoryview(data) as view:
                written = 0
                while written < size:
                    written += os.pwrite(self._file, view[head + written : head + size], offset + written)
            self._parts.append(_Part(at + head, offset, size))
            offset += size
        self.edges = [edge for edge in self.edges if edge[1]]

    def put(self, address: int) -> None:
        """Into the memory at `address`, which is large enough.

        Raises:
            OSError: the kernel did not map it.
        """
        for part in self._parts:
            if not part.size:
                continue
            wanted = address + part.at
            found = _mmap()(
                wanted,
                part.size,
                mmap.PROT_READ | mmap.PROT_WRITE,
                _MAP_PRIVATE | _MAP_FIXED,
                self._file,
                part.offset,
            )
            if found != wanted:
                raise OSError(ctypes.get_errno(), "an image was not mapped")
        for at, data in self.edges:
            ctypes.memmove(address + at, data, len(data))


class MappedImages:
    """The mapped images of a process, by digest. `start` runs the making of one (tests run it at once)."""

    def __init__(self, start: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._start = start or _on_a_thread
        self._mapped: OrderedDict[str, MappedImage] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def make_at_once(self) -> None:
        """Make them where they are asked for: for a process that can start no thread."""
        self._start = _at_once

    def find(self, image: Image) -> MappedImage | None:
        """What to make a cell of `image` from, if it is mapped. It is mapped once this was asked `CELLS_MIN` times."""
        if len(image.pages) == 0 or image.page_count < PAGES_MIN:
            return None
        with self._lock:
            if found := self._mapped.get(image.digest):
                self._mapped.move_to_end(image.digest)
                return found
            asked = self._asked[image.digest] = self._asked.pop(image.digest, 0) + 1
            if len(self._asked) > 1024:
                self._asked.popitem(last=False)
            if asked != CELLS_MIN:
                return None
        self._start(lambda: self._make(image))
        return None

    def _make(self, image: Image) -> None:
        try:
            made = mapped(image)
        except (OSError, wasmtime.WasmtimeError) as error:
            log.debug("image %s is not mapped: %s", image.digest[:12], error)
            return
        with self._lock:
            if made is None:
                return
            self._mapped[image.digest] = made
            self._asked.pop(image.digest, None)
            while len(self._mapped) > MAPPED_MAX:
                self._mapped.popitem(last=False)


def mapped(image: Image) -> MappedImage | None:
    """The image, mapped; None where a memory with it in is not what it is to be.

    Raises:
        OSError: there is no room for it, or it cannot be mapped.
        WasmtimeError: no instance can be made.
    """
    made = MappedImage(image)
    wasm_store, instance = image.base.instantiate(Limits(memory_bytes=max(image.memory_bytes, Limits().memory_bytes)))
    grow(wasm_store, instance, image.memory_bytes)
    address = memory_address(wasm_store, instance)
    made.put(address)
    found, state = copy_state(address, memory_bytes(wasm_store, instance), image.base.layout), image.state()
    return made if len(found) == len(state) and same_in_memory(found, state, len(state)) else None


def _needed(image: Image) -> bytes:
    """The state of a new cell, without the zeros that a memory ends with anyway."""
    state = image.state()
    return state[: max(_without_zeros(state), _without_zeros(image.base.state))]


def _without_zeros(data: bytes) -> int:
    """How much of it there is before the zeros at its end, a piece at a time: others have the interpreter between them."""
    end = len(data)
    while end:
        begin = max(end - PIECE_BYTES, 0)
        if kept := len(data[begin:end].rstrip(b"\0")):
            return begin + kept
        end = begin
    return 0


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cloche-image", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@cache
def _mmap() -> Any:
    """The system's, which Python's module does not let say where."""
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return call


def _on_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="cloche-map-image", daemon=True).start()


def _at_once(work: Callable[[], None]) -> None:
    work()
