"""The calls where wasmtime-py's checked way costs more than the guest's work, or time that is not there, made directly.

Everything private to the `wasmtime` package that cloche touches is in this file, and
`tests/host/sandbox/test_wasmtime_calls.py` compares each with the public way, so an upgrade that breaks one is seen at once.
Measured: looking up two exports 80-100 µs public, 4 µs here; a call 15-20 µs public, 2 µs plus the guest here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi  # private; see above

WASM_PAGE_BYTES = 65536
_TrapPointer = ctypes.POINTER(ffi.wasm_trap_t)
_EXTERN_FUNC = int(ffi.WASMTIME_EXTERN_FUNC.value)
_EXTERN_MEMORY = int(ffi.WASMTIME_EXTERN_MEMORY.value)


def memory_address(wasm_store: wasmtime.Store, instance: wasmtime.Instance) -> int:
    """The host address of byte 0 of the exported memory.

    Constant for the instance's life: the engine reserves 4 GiB for a memory, so growing it never moves it.
    """
    extern = _export(wasm_store, instance, b"memory", _EXTERN_MEMORY)
    pointer = ffi.wasmtime_memory_data(_context(wasm_store), ctypes.byref(extern.of.memory))
    return ctypes.addressof(pointer.contents)


def memory_bytes(wasm_store: wasmtime.Store, instance: wasmtime.Instance) -> int:
    """The present size of the exported memory."""
    return memory_size(wasm_store, instance)()


def memory_size(wasm_store: wasmtime.Store, instance: wasmtime.Instance) -> Callable[[], int]:
    """What says the present size of the exported memory whenever it is asked, as long as `wasm_store` is kept."""
    extern = _export(wasm_store, instance, b"memory", _EXTERN_MEMORY)
    ask, context, memory = ffi.wasmtime_memory_data_size, _context(wasm_store), ctypes.byref(extern.of.memory)
    return lambda: int(ask(context, memory))


def grow(wasm_store: wasmtime.Store, instance: wasmtime.Instance, size: int) -> None:
    """Make the exported memory `size` bytes large, if it is smaller, in whole pages of wasm's. It stays where it is."""
    missing = size - memory_bytes(wasm_store, instance)
    if missing > 0:
        memory = instance.exports(wasm_store)["memory"]
        assert isinstance(memory, wasmtime.Memory)
        memory.grow(wasm_store, -(-missing // WASM_PAGE_BYTES))


def bind(wasm_store: wasmtime.Store, instance: wasmtime.Instance, name: bytes) -> Callable[[int], int]:
    """The exported function `name` of type (i32) -> i32 or i64 as a plain callable; the result as signed 64 bit.

    Raises (when called):
        wasmtime.Trap: as the public call would.
    """
    extern = _export(wasm_store, instance, name, _EXTERN_FUNC)
    func = ctypes.byref(extern.of.func)
    value = (ffi.wasmtime_val_raw_t * 1)()
    trap = _TrapPointer()
    trap_address = ctypes.byref(trap)
    context = _context(wasm_store)
    call_unchecked = ffi.wasmtime_func_call_unchecked

    def call(argument: int) -> int:
        value[0].i64 = argument
        error = call_unchecked(context, func, value, 1, trap_address)
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
        if trap:
            raised = wasmtime.Trap._from_ptr(ctypes.cast(trap, _TrapPointer))
            ctypes.memset(trap_address, 0, ctypes.sizeof(trap))
            raise raised
        return int(value[0].i64)

    call.keep = (extern, value, trap, wasm_store, instance)  # type: ignore[attr-defined]  # owned as long as the call
    return call


def epochs(wasm: wasmtime.Engine) -> Callable[[], None]:
    """Makes one epoch go by, as `increment_epoch` does, and keeps the interpreter meanwhile.

    It is one atomic addition. The public way gives the interpreter up for it, and a busy thread has it back milliseconds later.
    """
    call = ctypes.PyDLL("libwasmtime", handle=ffi.dll._handle).wasmtime_engine_increment_epoch
    call.restype, call.argtypes = None, [ctypes.c_void_p]
    pointer = wasm.ptr()
    return lambda: call(pointer)


@contextmanager
def serialized(module: wasmtime.Module) -> Iterator[memoryview]:
    """What `module.serialize()` gives, in memory of wasmtime's that may be written to, for as long as this is entered.

    The public way copies it twice with the interpreter's lock held: 60 ms for a guest.

    Raises:
        wasmtime.WasmtimeError: it cannot be serialized.
    """
    vector = ffi.wasm_byte_vec_t()
    if error := ffi.wasmtime_module_serialize(module.ptr(), ctypes.byref(vector)):
        raise wasmtime.WasmtimeError._from_ptr(error)
    try:
        array = (ctypes.c_ubyte * vector.size).from_address(ctypes.addressof(vector.data.contents))
        with memoryview(array) as view, view.cast("B") as octets:
            yield octets
    finally:
        ffi.wasm_byte_vec_delete(ctypes.byref(vector))


def deserialized(wasm: wasmtime.Engine, artefact: bytes, offset: int = 0) -> wasmtime.Module:
    """What `Module.deserialize` makes of the bytes from `offset` on. The public way copies them twice, with the lock held.

    Raises:
        wasmtime.WasmtimeError: they are no module of this engine.
    """
    module = ctypes.POINTER(ffi.wasmtime_module_t)()
    begin = ctypes.cast(bytes_address(artefact) + offset, ctypes.POINTER(ctypes.c_uint8))
    size = len(artefact) - offset
    if error := ffi.wasmtime_module_deserialize(wasm.ptr(), begin, size, ctypes.byref(module)):
        raise wasmtime.WasmtimeError._from_ptr(error)
    return wasmtime.Module._from_ptr(module)


def copied(memory: memoryview) -> bytes:
    """A copy of what may be written to, made without the interpreter's lock."""
    copy = bytes(len(memory))  # untouched yet, and nobody else has it
    ctypes.memmove(bytes_address(copy), ctypes.addressof(ctypes.c_ubyte.from_buffer(memory)), len(memory))
    return copy


_libc = ctypes.CDLL(None)  # its functions are called without the interpreter's lock
_memcmp = _libc.memcmp
_memcmp.restype, _memcmp.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def same_in_memory(one: bytes, other: bytes, size: int) -> bool:
    """Whether both begin with the same `size` bytes."""
    return min(len(one), len(other)) >= size and _memcmp(one, other, size) == 0


def bytes_address(data: bytes) -> int:
    """Where the bytes are, for as long as `data` is kept."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _context(wasm_store: wasmtime.Store) -> Any:
    return wasm_store._context()


def _export(wasm_store: wasmtime.Store, instance: wasmtime.Instance, name: bytes, kind: int) -> Any:
    extern = ffi.wasmtime_extern_t()
    found = ffi.wasmtime_instance_export_get(
        _context(wasm_store), ctypes.byref(instance._instance), name, len(name), ctypes.byref(extern)
    )
    if not found or _kind(extern) != kind:
        raise LookupError(f"the guest does not export {name.decode()}")
    return extern


def _kind(extern: Any) -> int:
    return int(getattr(extern.kind, "value", extern.kind))
