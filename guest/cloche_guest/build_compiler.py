"""Building the compiler of "use workflow" code: two parsers from npm and our own files, joined into one JavaScript module.

It runs in the JavaScript guest, as any workflow does: so a stranger's text meets no parser on the host. Nothing is minified or
translated here, and no Node.js takes part but for the download.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloche_guest.abi import BuildFailed
from cloche_guest.build_python import PythonSources, _npm
from cloche_guest.tools import Progress, key, key_of_files, place, reported, run

_IMPORT = 'import * as acornNamespace from "acorn";'
_EXPORT = "export {\n  tsPlugin\n};"


@dataclass(frozen=True, slots=True)
class BuiltCompiler:
    """The module's text, and the licences of what is in it."""

    source: str
    licences: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm; `file` is what is taken of it."""

    name: str
    version: str
    file: str
    integrity: str


@dataclass(frozen=True, slots=True)
class CompilerSources:
    """The folder `guest/js/compiler`."""

    root: Path

    @property
    def pin(self) -> Path:
        return self.root / "npm.txt"

    @property
    def files(self) -> list[Path]:
        """Ours, in the order in which they are joined."""
        return sorted(self.root.glob("*.js"))

    def packages(self) -> Iterator[Package]:
        for line in self.pin.read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                yield Package(*line.split())

    def key(self) -> str:
        """Names everything the compiler is made from: equal keys give equal compilers."""
        return key_of_files([self.pin, *self.files, Path(__file__)])


def build_compiler(sources: CompilerSources, python: PythonSources, cache: Path, progress: Progress) -> BuiltCompiler:
    """The compiler. Some seconds for the download, then none. npm comes from the machine, or as in the build of `python`.

    Raises:
        BuildFailed: the download failed, or a package is not what is pinned.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folders = {one.name: _fetched(one, python, cache, progress) for one in sources.packages()}
    acorn, typescript = ((folders[one.name] / one.file).read_text("utf-8") for one in sources.packages())
    if _IMPORT not in typescript or _EXPORT not in typescript:
        raise BuildFailed("@sveltejs/acorn-typescript imports or exports other things than build_compiler.py expects")
    plugin = typescript.replace(_IMPORT, "").replace(_EXPORT, "return tsPlugin;")
    parts = [
        f"const acorn = {{}};\n((exports, module) => {{\n{acorn}\n}}).call(undefined, acorn, {{}});",
        f"const tsPlugin = ((acornNamespace) => {{\n{plugin}\n}})(acorn);",
        *(file.read_text("utf-8") for file in sources.files),
    ]
    licences = [f"==== {name} ====\n\n{_licence(folder)}\n" for name, folder in folders.items()]
    return BuiltCompiler("\n".join(parts), "\n".join(licences))


def _licence(folder: Path) -> str:
    return next(folder.glob("LICENSE*")).read_text("utf-8").strip()


def _fetched(one: Package, python: PythonSources, cache: Path, progress: Progress) -> Path:
    """The folder of a package, from the archive of npm's that has this integrity."""
    folder = cache / f"npm-{key(one.integrity.encode())[:16]}"
    if folder.exists():
        return folder
    with reported(progress, f"download {one.name} {one.version}"), tempfile.TemporaryDirectory(dir=cache) as work:
        npm = [
            *_npm(python, cache, progress),
            "pack",
            f"{one.name}@{one.version}",
            "--silent",
            "--cache",
            f"{work}/npm",
        ]
        run(npm, Path(work), {})
        archive = next(Path(work).glob("*.tgz"))
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if one.integrity != f"sha512-{digest}":
            raise BuildFailed(f"{one.name} {one.version} has integrity sha512-{digest}, and {one.integrity} is pinned")
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")
        place(Path(work) / "package", folder)
    return folder
