"""Base images and images: from a guest's wasm to the pages that a workflow's code changed.

A base image is compiled once per machine (`artefacts` keeps the result); native code is only ever made from our
own guest. An image is made by evaluating source in a fresh cell and keeping the pages that differ, in about a millisecond.
"""

from __future__ import annotations

import ctypes
import struct
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from threading import Lock

import wasmtime

from cloche.errors import GuestFault, LoadFailed
from cloche.history.failures import Failure
from cloche.history.values import check, decode
from cloche.sandbox.artefacts import compiled
from cloche.sandbox.engine import engine
from cloche.sandbox.faults import raise_fault, translated
from cloche.sandbox.limits import Limits
from cloche.sandbox.wasmtime_calls import bind, memory_address, memory_bytes

PAGE_BYTES = 4096
WASM_PAGE_BYTES = 65536
IMAGES_MAX = 256
ABI_VERSION = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a guest keeps its windows and its state; constant for a guest. All in bytes."""

    input_at: int
    input_bytes: int
    output_at: int
    output_bytes: int
    state_at: int
    event_output_bytes_max: int


class BaseImage:
    """A compiled guest. `digest` is that of its wasm, which `guest_wasm` is."""

    def __init__(self, digest: str, guest_wasm: bytes) -> None:
        self.digest = digest
        module = compiled(digest, guest_wasm)
        if module.imports:
            raise GuestFault(f"guest {digest[:12]} imports {len(module.imports)} things: a guest imports nothing")
        self.pre = engine().linker.instantiate_pre(module)
        self.layout = self._read_layout()

    def _read_layout(self) -> Layout:
        wasm_store, instance = self.instantiate(Limits())
        at = bind(wasm_store, instance, b"layout")(0) & 0xFFFFFFFF
        words = struct.unpack("<7I", ctypes.string_at(memory_address(wasm_store, instance) + at, 28))
        if words[0] != ABI_VERSION:
            raise GuestFault(f"guest {self.digest[:12]} speaks ABI {words[0]}, and this cloche speaks {ABI_VERSION}")
        return Layout(*words[1:])

    def instantiate(self, limits: Limits) -> tuple[wasmtime.Store, wasmtime.Instance]:
        wasm_store = wasmtime.Store(engine().wasm)
        wasm_store.set_limits(memory_size=limits.memory_bytes, instances=1, memories=1, tables=1)
        wasm_store.set_fuel(limits.fuel_per_event)
        wasm_store.set_epoch_deadline(1 << 40)
        return wasm_store, self.pre.instantiate(wasm_store)

    @cached_property
    def state(self) -> bytes:
        """The memory of an untouched cell, from where state begins."""
        wasm_store, instance = self.instantiate(Limits())
        at, size = self.layout.state_at, memory_bytes(wasm_store, instance)
        return ctypes.string_at(memory_address(wasm_store, instance) + at, size - at)


@dataclass(frozen=True, slots=True)
class Image:
    """The checkpoint of a workflow at position 0: runs of changed pages, by offset from where state begins.

    `digest` is bound to guest and source: cells of equal digest are equal.
    """

    base: BaseImage
    digest: str
    pages: tuple[tuple[int, bytes], ...]
    memory_bytes: int

    @property
    def page_count(self) -> int:
        return sum(len(data) for _, data in self.pages) // PAGE_BYTES


_images: OrderedDict[tuple[str, str, Limits], Image] = OrderedDict()
_bases: dict[str, BaseImage] = {}
_lock = Lock()


def base_image(digest: str, guest_wasm: bytes) -> BaseImage:
    """The base image of a guest, compiled or loaded once per process."""
    with _lock:
        if digest not in _bases:
            _bases[digest] = BaseImage(digest, guest_wasm)
        return _bases[digest]


def load_image(base: BaseImage, source: str, limits: Limits) -> Image:
    """The image of a workflow's generated or hand-written source. The newest 256 are kept in the process.

    Raises:
        LoadFailed: the source does not parse, or raised while it was evaluated.
        GuestFault: it was stopped by a limit.
    """
    source_digest = blake2b(source.encode(), digest_size=32).hexdigest()
    key = (base.digest, source_digest, limits)
    with _lock:
        if key in _images:
            _images.move_to_end(key)
            return _images[key]
    image = _evaluate(base, source.encode(), source_digest, limits)
    with _lock:
        _images[key] = image
        while len(_images) > IMAGES_MAX:
            _images.popitem(last=False)
    return image


def _evaluate(base: BaseImage, source: bytes, source_digest: str, limits: Limits) -> Image:
    layout = base.layout
    if len(source) > layout.input_bytes:
        raise LoadFailed(f"the workflow's source has {len(source)} bytes, and a guest takes {layout.input_bytes}")
    wasm_store, instance = base.instantiate(limits)
    wasm_store.set_epoch_deadline(_ticks(limits.wall_ms_per_event))
    address = memory_address(wasm_store, instance)
    ctypes.memmove(address + layout.input_at, source, len(source))
    with translated("while its code was loaded"), engine():
        code = _signed32(bind(wasm_store, instance, b"load")(len(source)))
    if code == -5:
        raise _load_failed(address, layout)
    if code < 0:
        raise_fault(code, "while its code was loaded")
    size = memory_bytes(wasm_store, instance)
    state = ctypes.string_at(address + layout.state_at, size - layout.state_at)
    digest = blake2b(f"{base.digest}:{source_digest}".encode(), digest_size=32).hexdigest()
    return Image(base, digest, tuple(changed_pages(base.state, state)), size)


def changed_pages(before: bytes, after: bytes) -> list[tuple[int, bytes]]:
    """Runs of 4 KiB pages of `after` that differ from `before`, which is taken as zero beyond its end."""
    zero = bytes(PAGE_BYTES)
    runs: list[tuple[int, int]] = []
    for at in range(0, len(after), PAGE_BYTES):
        if after[at : at + PAGE_BYTES] == (before[at : at + PAGE_BYTES] or zero):
            continue
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + PAGE_BYTES)
        else:
            runs.append((at, at + PAGE_BYTES))
    return [(start, after[start:end]) for start, end in runs]


def _load_failed(address: int, layout: Layout) -> LoadFailed:
    length = struct.unpack("<I", ctypes.string_at(address + layout.output_at - 4, 4))[0]
    data = ctypes.string_at(address + layout.output_at, min(length, layout.output_bytes))
    check(data)
    failure = Failure.from_wire(decode(data))
    return LoadFailed(f"the workflow's code could not be loaded: {failure}", failure=failure)


def _ticks(wall_ms: int) -> int:
    from cloche.sandbox.engine import TICK_MS

    return wall_ms // TICK_MS + 2


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
