"""Building the JavaScript guest: pinned sources, the C compiler from PyPI (`ziglang`), and baking.

Nothing of the machine enters the result: sources are compiled under fixed relative names, without debug information,
by a compiler whose version is part of the content key. Compiled files are kept in the cache by content, so that a change
of ours does not compile QuickJS again.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloche_guest.abi import BuildFailed
from cloche_guest.bake import Script, bake
from cloche_guest.tools import (
    Built,
    Progress,
    compiler_folder,
    compiler_version,
    key,
    key_of_files,
    pip,
    place,
    reported,
    zig,
)

STACK_BYTES: Final = 3 << 19  # guest.h says what follows it
STATE_ADDRESS: Final = 0x1190000  # above stack and windows; a multiple of wasm's page
TARGET: Final = ("--target=wasm32-wasi", "-mexec-model=reactor")
COMPILE: Final = ("-O2", "-g0", "-std=gnu11", "-DNDEBUG", "-D_GNU_SOURCE", "-fno-ident")
OUR_DEFINITIONS: Final = (f"-DSTATE_ADDRESS={STATE_ADDRESS}", f"-DSTACK_BYTES={STACK_BYTES}")
OUR_WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
LINK: Final = (f"-Wl,-z,stack-size={STACK_BYTES}", f"-Wl,--global-base={STATE_ADDRESS}", "-Wl,--strip-all")
ENGINE_FILES: Final = ("quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c")


@dataclass(frozen=True, slots=True)
class Sources:
    """The tree `guest/js`, and what it shares with the other guest in `guest/common`."""

    root: Path

    @property
    def pin(self) -> Path:
        """A requirements file with one hash: what pip downloads."""
        return self.root / "requirements.txt"

    @property
    def weights(self) -> Path:
        """How much stack functions of QuickJS take beside their own: lines `file function bytes [checked]`."""
        return self.root / "weights.txt"

    @property
    def c_files(self) -> list[Path]:
        """Ours: of this guest, and what it shares with the other."""
        return sorted(file for folder in self.headers for file in folder.glob("*.[ch]"))

    @property
    def headers(self) -> tuple[Path, Path]:
        return self.root / "src", self.root.parent / "common"

    @property
    def prelude(self) -> list[Path]:
        """In the order in which they are evaluated: globals.js first, freeze.js last, the others by name."""
        folder = self.root / "prelude"
        between = sorted(p for p in folder.glob("*.js") if p.name not in ("globals.js", "freeze.js"))
        return [folder / "globals.js", *between, folder / "freeze.js"]

    def key(self) -> str:
        """Names everything the guest is made from: equal keys give equal guests."""
        ours = [Path(__file__).with_name(name) for name in ("build.py", "bake.py", "tools.py", "wasm.py")]
        return key_of_files([self.pin, self.weights, *self.c_files, *self.prelude, *ours], compiler_version())


def build(sources: Sources, cache: Path, progress: Progress) -> Built:
    """The guest. About 25 s from nothing on two cores; 1 s when only files of ours changed.

    Raises:
        BuildFailed: a download, the compiler, the linker or the prelude failed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    engine = _engine_sources(sources, cache, progress)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        objects = _compile_all(sources, engine, cache, progress)
        with reported(progress, "link"):
            linked = _link(objects, Path(work), cache)
    with reported(progress, "bake the prelude"):
        scripts = [Script(p.name, p.read_text("utf-8")) for p in sources.prelude]
        wasm = bake(linked, [*scripts, Script("the end", "")])
    return Built(wasm, _licences(engine))


def _licences(engine: Path) -> str:
    """QuickJS-NG's stands at the head of its header; those of wasi-libc and musl come with the compiler."""
    head = (engine / "quickjs.h").read_text("utf-8").split("*/")[0].removeprefix("/*")
    lines = "\n".join(line.removeprefix(" *").removeprefix(" ") for line in head.splitlines())
    library = Path(compiler_folder(), "lib", "libc")
    files = {"wasi-libc": library / "wasi" / "LICENSE-MIT", "musl": library / "musl" / "COPYRIGHT"}
    texts = {"QuickJS-NG": lines.strip(), **{name: file.read_text("utf-8").strip() for name, file in files.items()}}
    return "\n\n".join(f"==== {name} ====\n\n{text}" for name, text in texts.items()) + "\n"


# ---- sources ---------------------------------------------------------------------------------------------------------


def _engine_sources(sources: Sources, cache: Path, progress: Progress) -> Path:
    """The folder with QuickJS-NG's C files, unpacked from the archive that the pin names, and weighted."""
    folder = cache / f"quickjs-{key(sources.pin.read_bytes(), sources.weights.read_bytes())[:16]}"
    if folder.exists():
        return folder
    with reported(progress, "download QuickJS-NG"), tempfile.TemporaryDirectory(dir=cache) as work:
        pip(["download", "--no-binary", "quickjs-ng", "-d", work], sources.pin, Path(work))
        _unpack(next(Path(work).glob("*.tar.gz")), Path(work) / "unpacked")
        _weight(Path(work) / "unpacked", sources.weights)
        place(Path(work) / "unpacked", folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if member.isfile() and path.parent.name == "upstream-quickjs" and path.suffix in (".c", ".h"):
                content = tar.extractfile(member)
                assert content is not None
                (folder / path.name).write_bytes(content.read())
    if missing := [name for name in ENGINE_FILES if not (folder / name).exists()]:
        raise BuildFailed(f"the source archive of QuickJS-NG has no {', '.join(missing)}: is the pin another version?")


def _weight(folder: Path, weights: Path) -> None:
    """Puts a buffer of so many bytes into each function that `weights` names."""
    for line in weights.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, function, size, *checked = line.split()
        file = folder / name
        buffer = f'char stack_weight[{int(size)}]; __asm__ volatile("" : : "r"(stack_weight) : "memory");'
        if checked:
            buffer += " if (js_check_stack_overflow(ctx->rt, 0)) return JS_ThrowStackOverflow(ctx);"
        definition = re.compile(rf"^[a-z_][^\n;]*\b{function}\([^;{{]*?\)\n\{{", re.MULTILINE)
        text, count = definition.subn(rf"\g<0> {buffer}", file.read_text("utf-8"))
        if count != 1:
            raise BuildFailed(f"{name} has {count} definitions of {function}, which {weights.name} gives a weight")
        file.write_text(text, "utf-8")


# ---- compiler --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """One C file. `context` is what it includes, as far as it can change; `engine` and `ours` are where that lies, paths of
    this machine, and so no part of the key."""

    source: Path
    flags: tuple[str, ...]
    engine: Path
    ours: tuple[Path, ...]
    context: bytes

    def key(self) -> str:
        options = " ".join([*TARGET, *COMPILE, *self.flags, compiler_version()])
        return key(self.source.read_bytes(), self.context, options.encode())[:16]


def _compile_all(sources: Sources, engine: Path, cache: Path, progress: Progress) -> list[Path]:
    pin = sources.pin.read_bytes()
    our_context = pin + b"".join(p.read_bytes() for p in sources.c_files if p.suffix == ".h")
    engine_units = [_Unit(engine / name, (), engine, (), pin) for name in ENGINE_FILES]
    our_files = [p for p in sources.c_files if p.suffix == ".c"]
    our_units = [_Unit(p, (*OUR_WARNINGS, *OUR_DEFINITIONS), engine, sources.headers, our_context) for p in our_files]

    def compile_(unit: _Unit) -> Path:
        return _compile(unit, cache, progress)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # quickjs.c first: it takes longer than all the others
        library = pool.submit(_prepare_library, cache, progress)
        compiled = list(pool.map(compile_, [*engine_units, *our_units]))
        library.result()
    # Ours come first at the link: what they define takes the place of the C library's (ambient.c, libc.c).
    return compiled[len(engine_units) :] + compiled[: len(engine_units)]


def _prepare_library(cache: Path, progress: Progress) -> None:
    """The compiler builds its C library at the first link, for 20 s. With an empty program that is done meanwhile."""
    mark = cache / f"library-{key(compiler_version().encode())[:16]}"
    if mark.exists():
        return
    with reported(progress, "compile the C library"), tempfile.TemporaryDirectory(dir=cache) as work:
        (Path(work) / "empty.c").touch()
        zig(["cc", *TARGET, "-O2", "empty.c", *LINK, "-o", "empty.wasm"], Path(work), cache)
    mark.touch()


def _compile(unit: _Unit, cache: Path, progress: Progress) -> Path:
    compiled = cache / f"{unit.source.stem}-{unit.key()}.o"
    if compiled.exists():
        return compiled
    with reported(progress, f"compile {unit.source.name}"), tempfile.TemporaryDirectory(dir=cache) as work:
        out = Path(work) / "out.o"
        flags = [*TARGET, *COMPILE, *unit.flags, "-isystem", str(unit.engine), *(f"-I{folder}" for folder in unit.ours)]
        zig(["cc", *flags, "-c", unit.source.name, "-o", str(out)], unit.source.parent, cache)
        place(out, compiled)
    return compiled


def _link(objects: Sequence[Path], work: Path, cache: Path) -> bytes:
    out = work / "guest.wasm"
    zig(["cc", *TARGET, "-O2", *map(str, objects), *LINK, "-o", str(out)], work, cache)
    return out.read_bytes()
