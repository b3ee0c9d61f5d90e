"""The guest's C compiled for this machine, with sanitizers: the same files as in wasm, and QuickJS with them.

`undefined` is compiled by `ziglang`, which brings UBSan to every machine; its codec also reports the edges it takes, for the
fuzzer. `address` needs the machine's own gcc or clang with libasan. Objects are kept in the guest's cache by content.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from cloche_guest import artifacts
from cloche_guest.build import script_of, zones_source
from cloche_guest.engine import ENGINE_FILES, engine_sources
from cloche_guest.tools import compiler_version, key, place
from cloche_guest.zones import zones_folder

HERE: Final = Path(__file__).parent / "native"
WINDOWS_AT: Final = 0x300000000000  # where neither the loader, ASan's shadow nor the heap is, on every 64-bit system
COMPILE: Final = ("-O1", "-std=gnu11", "-D_GNU_SOURCE", "-fno-omit-frame-pointer")
ADDRESSES: Final = (f"-DSTACK_BYTES={WINDOWS_AT + 0x180000:#x}", f"-DSTATE_ADDRESS={WINDOWS_AT + 0x1190000:#x}")
COUNTED: Final = tuple(f"-D{name}=counted_{name}" for name in ("malloc", "calloc", "realloc", "free"))
# Time as the guest has it takes the place of the C library's, under names of its own: the fuzzer still needs a clock.
TIME: Final = tuple(f"-D{name}=guest_{name}" for name in ("gettimeofday", "clock_gettime", "localtime_r"))
# QuickJS carves small blocks out of larger ones, except under ASan: here each is taken alone, so that all are counted.
ALONE: Final = ("-U__SANITIZE_ADDRESS__", "-D__SANITIZE_ADDRESS__=1")
CODEC: Final = (
    "wire_read.c",
    "wire_write.c",
    "cbor_read.c",
    "cbor_write.c",
    "failures.c",
    "text.c",
    "events.c",
    "commands.c",
    "calls.c",
)
EDGES: Final = "-fsanitize-coverage=trace-pc-guard"


class NoCompiler(Exception):
    """The message says what this machine lacks."""


@cache
def undefined() -> Path:
    """The native guest under UBSan: anything undefined ends it with a report."""
    zig = (sys.executable, "-m", "ziglang", "cc")
    return _build(zig, compiler_version(), ("-fsanitize=undefined",), (EDGES,))


@cache
def address() -> Path:
    """The native guest under ASan.

    Raises:
        NoCompiler: neither gcc nor clang of this machine can do that.
    """
    for name in ("gcc", "clang"):
        if (compiler := shutil.which(name)) and _has_asan(compiler):
            version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
            return _build((compiler,), version, ("-fsanitize=address",), ())
    raise NoCompiler("neither gcc nor clang with libasan is on this machine: the boundary is not checked by ASan here")


def run(program: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], input=given, capture_output=True, env=environment(), timeout=300)


def environment() -> dict[str, str]:
    """Leaks are counted by the fuzzer; QuickJS measures its stack, which fake frames on the heap would confuse."""
    return {**os.environ, "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:detect_stack_use_after_return=0"}


def prelude() -> list[str]:
    """Files with the prelude's scripts, as the guest is baked from them."""
    scripts = [script_of(file) for file in artifacts.SOURCES.prelude]
    texts = "".join(script.text for script in scripts)
    folder = artifacts._cache_directory() / "native" / f"prelude-{key(texts.encode())[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / script.name for script in scripts]
    for file, script in zip(files, scripts, strict=True):
        if not file.exists():
            _write(file, script.text)
    return [str(file) for file in files]


def _write(file: Path, text: str) -> None:
    """Whole or not at all: other processes of the tests look for it too."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
        new.write(text)
    Path(new.name).replace(file)


def _has_asan(compiler: str) -> bool:
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "empty.c").write_text("int main(void) { return 0; }\n")
        command = [compiler, "-fsanitize=address", "empty.c", "-o", "empty"]
        compiled = subprocess.run(command, cwd=work, capture_output=True)
        return compiled.returncode == 0 and subprocess.run([Path(work) / "empty"], capture_output=True).returncode == 0


def _build(compiler: Sequence[str], version: str, sanitize: Sequence[str], edges: Sequence[str]) -> Path:
    cache_ = artifacts._cache_directory() / "native"
    cache_.mkdir(parents=True, exist_ok=True)
    sources = artifacts.SOURCES
    engine = engine_sources(sources.pin, sources.weights, sources.names, cache_.parent, _silent)
    zones = zones_folder(sources.zones, cache_.parent, _silent)
    pin = engine.name.encode()
    folders = (*artifacts.SOURCES.headers, HERE)
    headers = b"".join(file.read_bytes() for folder in folders for file in sorted(folder.glob("*.h")))

    def compile_(file: Path) -> Path:
        flags = [*COMPILE, *sanitize, *_flags(file, edges)]
        name = key(
            file.read_bytes(),
            headers if file.parent != engine else b"",
            pin,
            " ".join(flags).encode(),
            version.encode(),
        )
        made = cache_ / f"{file.stem}-{name[:16]}.o"
        if not made.exists():
            _compile(
                [*compiler, *flags, "-isystem", str(engine), *(f"-I{folder}" for folder in folders), "-c", str(file)],
                made,
            )
        return made

    guest = [file for file in artifacts.SOURCES.c_files if file.suffix == ".c" and file.name != "libc.c"]
    with tempfile.TemporaryDirectory(dir=cache_) as work, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        table = zones_source(zones, Path(work))
        files = [*(engine / name for name in ENGINE_FILES), *guest, table, *sorted(HERE.glob("*.c"))]
        objects = list(pool.map(compile_, files))
    program = cache_ / f"guest-{key(*(made.name.encode() for made in objects), ' '.join(sanitize).encode())[:16]}"
    if not program.exists():
        _compile([*compiler, *sanitize, *edges, *map(str, objects), "-lm", "-lpthread"], program)
    return program


def _silent(_: str) -> None:
    pass


def _flags(file: Path, edges: Iterable[str]) -> list[str]:
    """Warnings are errors in what is only here; the guest's own are seen when it is compiled for wasm."""
    if file.parent == HERE:
        return ["-g", "-Wall", "-Wextra", "-Werror", "-Wno-attributes", *ADDRESSES]
    if file.name in ENGINE_FILES:
        return ["-g1", "-w", *ALONE, *TIME]
    counted = (*COUNTED, f"-I{HERE / sys.platform}") if file.name == "ambient.c" else ()
    return ["-g", "-w", *ADDRESSES, *TIME, *counted, *(edges if file.name in CODEC else ())]


def _compile(command: Sequence[str], wanted: Path) -> None:
    with tempfile.TemporaryDirectory(dir=wanted.parent) as work:
        made = Path(work) / wanted.name
        zig = str(wanted.parents[1] / "zig")
        caches = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig}
        done = subprocess.run([*command, "-o", str(made)], env=caches, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"`{' '.join(command)}` failed:\n{done.stderr[-4000:]}")
        place(made, wanted)
