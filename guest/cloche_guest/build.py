"""Building the JavaScript guest: pinned sources, the C compiler from PyPI (`ziglang`), and baking.

Nothing of the machine enters the result: sources are compiled under fixed relative names, without debug information,
by a compiler whose version is part of the content key. Compiled files are kept in the cache by content, so that a change
of ours does not compile QuickJS again.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloche_guest.bake import Script, bake
from cloche_guest.engine import ENGINE_FILES, engine_sources
from cloche_guest.tools import (
    Built,
    Progress,
    compiler_folder,
    compiler_version,
    key,
    key_of_files,
    place,
    reported,
    zig,
)
from cloche_guest.zones import table, zones_folder

STACK_BYTES: Final = 3 << 19  # guest.h says what follows it
STATE_ADDRESS: Final = 0x1190000  # above stack and windows; a multiple of wasm's page
TARGET: Final = ("--target=wasm32-wasi", "-mexec-model=reactor")
COMPILE: Final = ("-O2", "-g0", "-std=gnu11", "-DNDEBUG", "-D_GNU_SOURCE", "-fno-ident")
OUR_DEFINITIONS: Final = (f"-DSTATE_ADDRESS={STATE_ADDRESS}", f"-DSTACK_BYTES={STACK_BYTES}")
OUR_WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
LINK: Final = (f"-Wl,-z,stack-size={STACK_BYTES}", f"-Wl,--global-base={STATE_ADDRESS}", "-Wl,--strip-all")


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
    def zones(self) -> Path:
        """A requirements file likewise: IANA's time zones."""
        return self.root / "zones.txt"

    @property
    def names(self) -> Path:
        """What QuickJS is given beside its own: `engine.EDITS` says where."""
        return self.root / "engine" / "names.c"

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
        return [folder / "globals.js", *between, *sorted(folder.glob("later/*.js")), folder / "freeze.js"]

    def key(self) -> str:
        """Names everything the guest is made from: equal keys give equal guests."""
        ours = [
            Path(__file__).with_name(name)
            for name in ("build.py", "engine.py", "zones.py", "bake.py", "tools.py", "wasm.py")
        ]
        return key_of_files(
            [self.pin, self.weights, self.zones, self.names, *self.c_files, *self.prelude, *ours], compiler_version()
        )


def build(sources: Sources, cache: Path, progress: Progress) -> Built:
    """The guest. About 25 s from nothing on two cores; 1 s when only files of ours changed.

    Raises:
        BuildFailed: a download, the compiler, the linker or the prelude failed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    engine = engine_sources(sources.pin, sources.weights, sources.names, cache, progress)
    zones = zones_folder(sources.zones, cache, progress)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        made = zones_source(zones, Path(work))
        objects = _compile_all(sources, made, engine, cache, progress)
        with reported(progress, "link"):
            linked = _link(objects, Path(work), cache)
    with reported(progress, "bake the prelude"):
        scripts = [script_of(p) for p in sources.prelude]
        wasm = bake(linked, [*scripts, Script("the end", "")])
    return Built(wasm, _licences(engine, zones))


def script_of(file: Path) -> Script:
    """A file of the prelude. One of `later/` is kept as text, without comments and indentation, under the names in its head."""
    text = file.read_text("utf-8")
    if file.parent.name != "later":
        return Script(file.name, text)
    heads = dict(re.findall(r"^// (Brings|Forms): (.+)$", text, re.MULTILINE))
    lines = (line.strip() for line in text.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//")).removesuffix(";")
    names, kinds = (json.dumps(heads.get(head, "").split()) for head in ("Brings", "Forms"))
    return Script(file.name, f"(cloche) => cloche.own.later({names}, {kinds}, {json.dumps(code)})")


def _licences(engine: Path, zones: Path) -> str:
    """QuickJS-NG's stands at the head of its header; those of wasi-libc and musl come with the compiler."""
    head = (engine / "quickjs.h").read_text("utf-8").split("*/")[0].removeprefix("/*")
    lines = "\n".join(line.removeprefix(" *").removeprefix(" ") for line in head.splitlines())
    library = Path(compiler_folder(), "lib", "libc")
    files = {"wasi-libc": library / "wasi" / "LICENSE-MIT", "musl": library / "musl" / "COPYRIGHT"}
    files["tzdata"] = next(zones.glob("tzdata-*.dist-info/licenses/LICENSE"))
    texts = {"QuickJS-NG": lines.strip(), **{name: file.read_text("utf-8").strip() for name, file in files.items()}}
    return "\n\n".join(f"==== {name} ====\n\n{text}" for name, text in texts.items()) + "\n"


def zones_source(zones: Path, work: Path) -> Path:
    """A C file with the table of zones."""
    file = work / "zones_table.c"
    data = table(zones / "tzdata" / "zoneinfo")
    rows = ",\n".join(",".join(map(str, row)) for row in (data[at : at + 32] for at in range(0, len(data), 32)))
    file.write_text(f"extern const unsigned char zones_table[];\nconst unsigned char zones_table[] = {{\n{rows}}};\n")
    return file


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


def _compile_all(sources: Sources, zones: Path, engine: Path, cache: Path, progress: Progress) -> list[Path]:
    pin = sources.pin.read_bytes()
    our_context = pin + b"".join(p.read_bytes() for p in sources.c_files if p.suffix == ".h")
    engine_units = [_Unit(engine / name, (), engine, (), pin) for name in ENGINE_FILES]
    our_files = [*(p for p in sources.c_files if p.suffix == ".c"), zones]
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
