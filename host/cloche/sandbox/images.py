"""Base images and images: from a guest's wasm to the pages that a workflow's code changed.

A base image is compiled once per machine (`artefacts` keeps the result); native code is only ever made from our
own guest. An image is made by evaluating source in a fresh cell and keeping the pages that differ, in about a millisecond.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from threading import Lock

import wasmtime

from cloche.errors import GuestFault, LoadFailed, MalformedOutput, MemoryExhausted
from cloche.history.bounds import exceeded
from cloche.history.check import check
from cloche.history.failures import Failure
from cloche.history.limits import Limits
from cloche.history.values import decode
from cloche.sandbox.artefacts import artefact, compiled
from cloche.sandbox.engine import engine
from cloche.sandbox.faults import LOADING, facts_of, raise_fault, translated
from cloche.sandbox.layout import Layout, copy_state
from cloche.sandbox.wasmtime_calls import bind, bytes_address, memory_address, memory_bytes
from cloche.tenancy.cache import TenantCache

PAGE_BYTES = 4096
IMAGES_BYTES_MAX = 256 << 20  # of a process: a Python workflow's takes 1 to 3 MB, a JavaScript one's 0.1
ABI_VERSIONS = (1, 2)

_LAYOUT = struct.Struct("<7I")
_EXPORTS = {"memory": "a memory", "layout": "() -> i32", "load": "(i32) -> i32", "turn": "(i32) -> i64"}


def _type_text(type: object) -> str:
    match type:
        case wasmtime.MemoryType():
            return "a memory"
        case wasmtime.FuncType():
            return f"({', '.join(map(str, type.params))}) -> {', '.join(map(str, type.results)) or 'nothing'}"
    return "something else"


class BaseImage:
    """A compiled guest. `digest` is that of its wasm, which `guest_wasm` is, or what else `compile` makes the module of.

    What is called without checks later is checked here once: imports, types of exports, and that its windows are in its memory.

    Raises:
        GuestFault: it is not a guest.
    """

    def __init__(
        self, digest: str, guest_wasm: bytes, compile: Callable[[str, bytes], wasmtime.Module] = compiled
    ) -> None:
        self.digest = digest
        with _named(digest):
            self.module = module = compile(digest, guest_wasm)
        if module.imports:
            raise _unfit(digest, f"imports {len(module.imports)} things: a guest imports nothing")
        types = {export.name: _type_text(export.type) for export in module.exports}
        for name, wanted in _EXPORTS.items():
            if types.get(name) != wanted:
                raise _unfit(digest, f"exports {name} as {types.get(name, 'nothing')}, and it must be {wanted}")
        self.pre = engine().linker.instantiate_pre(module)
        self.layout = self._read_layout()

    def _read_layout(self) -> Layout:
        limits = Limits(fuel_per_event=10_000_000)
        wasm_store, instance = self.instantiate(limits)
        with (
            translated("when it was asked for its layout", limits),
            engine().watch(wasm_store, limits.wall_ms_per_event),
        ):
            at = bind(wasm_store, instance, b"layout")(0) & 0xFFFFFFFF
        size = self.memory_bytes = memory_bytes(wasm_store, instance)
        if at + _LAYOUT.size > size:
            raise _unfit(self.digest, "has no layout in its memory")
        words = _LAYOUT.unpack(ctypes.string_at(memory_address(wasm_store, instance) + at, _LAYOUT.size))
        if words[0] not in ABI_VERSIONS:
            spoken = " and ".join(map(str, ABI_VERSIONS))
            raise _unfit(self.digest, f"speaks ABI {words[0]}, and this cloche speaks {spoken}: use a newer one")
        layout = Layout(*words[1:])
        if not layout.is_within(size):
            raise _unfit(self.digest, "has windows that are not in its memory")
        return layout

    def instantiate(self, limits: Limits) -> tuple[wasmtime.Store, wasmtime.Instance]:
        """A new instance.

        Raises:
            MemoryExhausted: its memory is larger than the limit from the beginning.
            GuestFault: it was stopped while it began.
        """
        wasm_store = wasmtime.Store(engine().wasm)
        wasm_store.set_limits(memory_size=limits.memory_bytes, instances=1, memories=1, tables=1)
        wasm_store.set_fuel(limits.fuel_per_event)
        try:
            with translated("while it was instantiated", limits), engine().watch(wasm_store, limits.wall_ms_per_event):
                return wasm_store, self.pre.instantiate(wasm_store)
        except wasmtime.WasmtimeError as error:
            raise MemoryExhausted(
                f"guest {self.digest[:12]} does not fit into {limits.memory_bytes} bytes of memory: {error}",
                **facts_of(MemoryExhausted, limits),
            ) from error

    @cached_property
    def state(self) -> bytes:
        """The state of an untouched cell."""
        wasm_store, instance = self.instantiate(Limits())
        return copy_state(memory_address(wasm_store, instance), memory_bytes(wasm_store, instance), self.layout)


def portable(digest: str, guest_wasm: bytes) -> bytes:
    """The guest, compiled, for `BaseImage` in another process of this user.

    Raises:
        GuestFault: it is not a guest.
    """
    with _named(digest):
        return artefact(digest, guest_wasm)


@contextmanager
def _named(digest: str) -> Iterator[None]:
    try:
        yield
    except wasmtime.WasmtimeError as error:
        raise _unfit(digest, f"is not a module that cloche runs: {error}") from error


def _unfit(digest: str, why: str) -> GuestFault:
    return GuestFault(f"guest {digest[:12]} {why}", digest=digest)


@dataclass(frozen=True, slots=True)
class Image:
    """The checkpoint of a workflow at position 0: runs of changed pages, by offset in the state.

    `digest` is bound to guest and source: cells of equal digest are equal.
    """

    base: BaseImage
    digest: str
    pages: tuple[tuple[int, bytes], ...]
    memory_bytes: int

    @property
    def page_count(self) -> int:
        return sum(len(data) for _, data in self.pages) // PAGE_BYTES

    def state(self) -> bytes:
        """The state of a new cell."""
        before = self.base.state
        state = bytes(self.base.layout.state_bytes(self.memory_bytes))  # nobody else has it yet
        begin = bytes_address(state)
        ctypes.memmove(begin, before, len(before))
        for at, data in self.pages:
            ctypes.memmove(begin + at, data, len(data))
        return state


kept: TenantCache[tuple[str, str, Limits], Image] = TenantCache(IMAGES_BYTES_MAX)  # by guest, digest of source, limits
_bases: dict[str, BaseImage] = {}
_making: dict[str, Lock] = {}  # a guest takes a quarter of a second, or many where it has to be compiled
_lock = Lock()


def base_image(digest: str, guest_wasm: bytes) -> BaseImage:
    """The base image of a guest, compiled or loaded once per process. Who asks for one that is there waits for no other."""
    with _lock:
        making = _making.setdefault(digest, Lock()) if digest not in _bases else None
    if making is not None:
        with making:
            if digest not in _bases:
                _bases[digest] = BaseImage(digest, guest_wasm)
    return _bases[digest]


def load_image(base: BaseImage, source: str, limits: Limits, owner: str = "") -> Image:
    """The image of a workflow's generated or hand-written source, which `owner` has brought. Those used last are `kept`.

    Raises:
        LoadFailed: the source does not parse, or raised while it was evaluated.
        GuestFault: it was stopped by a limit.
    """
    source_digest = digest_of_source(source)
    key = (base.digest, source_digest, limits)
    image = kept.get(key)
    if image is None:
        image = _evaluate(base, source.encode(), source_digest, limits)
        kept.put(key, image, image.page_count * PAGE_BYTES, owner)
    return image


def digest_of_source(source: str) -> str:
    """BLAKE2b-256 in hex."""
    return blake2b(source.encode(), digest_size=32).hexdigest()


def image_digest(guest: str, source_digest: str) -> str:
    """That of the image which a guest makes of a source, by their digests."""
    return blake2b(f"{guest}:{source_digest}".encode(), digest_size=32).hexdigest()


def _evaluate(base: BaseImage, source: bytes, source_digest: str, limits: Limits) -> Image:
    layout = base.layout
    if len(source) > layout.input_bytes:
        raise LoadFailed(f"the workflow's source has {len(source)} bytes, and a guest takes {layout.input_bytes}")
    wasm_store, instance = base.instantiate(limits)
    address = memory_address(wasm_store, instance)
    ctypes.memmove(address + layout.input_at, source, len(source))
    wasm_store.set_fuel(limits.fuel_per_load)
    with translated(LOADING, limits), engine().watch(wasm_store, limits.wall_ms_per_event):
        code = _signed32(bind(wasm_store, instance, b"load")(len(source)))
    if code == -5:
        raise _load_failed(address, layout)
    if code < 0:
        raise_fault(code, LOADING, limits)
    size = memory_bytes(wasm_store, instance)
    state = copy_state(address, size, layout)
    pages = tuple(changed_pages(base.state, state))
    if (changed := sum(len(data) for _, data in pages)) > limits.image_bytes:
        raise exceeded("image_bytes", limits.image_bytes, changed, "the workflow's code")
    return Image(base, image_digest(base.digest, source_digest), pages, size)


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
    wire = decode(data) if check(data) == len(data) else None
    if not isinstance(wire, dict):
        raise MalformedOutput("the guest did not say in the grammar why its code could not be loaded")
    failure = Failure.from_wire(wire)
    return LoadFailed(f"the workflow's code could not be loaded: {failure}", failure=failure)


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
