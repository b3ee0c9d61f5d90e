"""What both builds use: commands, pinned downloads, the C compiler from PyPI (`ziglang`), and files named by content."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from cloche_guest.abi import BuildFailed

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """A guest's wasm, and the licences of what is compiled into it, which go wherever it goes."""

    wasm: bytes
    licences: str


def run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"`{' '.join(command[:6])} …` failed:\n{(done.stderr or done.stdout).strip()[-4000:]}")


def pip(arguments: Sequence[str], pin: Path, folder: Path) -> None:
    """By pip, so that its configured index, proxy and certificates hold; the hashes of `pin` are checked by pip."""
    checks = ["--no-deps", "--require-hashes", "-r", str(pin)]
    run([sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", *checks], folder, {})


def zig(arguments: Sequence[str], folder: Path, cache: Path) -> None:
    zig_cache = str(cache / "zig")
    environment = {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
    run([sys.executable, "-m", "ziglang", *arguments], folder, environment)


def compiler_folder() -> Path:
    found = find_spec("ziglang")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def compiler_version() -> str:
    try:
        return version("ziglang")
    except PackageNotFoundError:
        raise BuildFailed("the guest is compiled by `ziglang`: pip install 'cloche[dev]'") from None


def key(*parts: bytes) -> str:
    """Names content: equal parts give equal keys."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def key_of_files(files: Sequence[Path], *further: str) -> str:
    """Names the files, their names included, and what else goes into the result."""
    parts = [item for file in files for item in (file.name.encode(), file.read_bytes())]
    return key(*parts, *(text.encode() for text in further))


def place(made: Path, wanted: Path) -> None:
    """Whole or not at all; where another build was faster, its result stays."""
    try:
        made.rename(wanted)
    except OSError:
        if not wanted.exists():
            raise


@contextmanager
def reported(progress: Progress, what: str) -> Iterator[None]:
    """Says that a part of a build begins and how long it took: some take a minute, and some run at the same time."""
    begun = time.monotonic()
    progress(f"{what} …")
    yield
    progress(f"{what}: {time.monotonic() - begun:.1f} s")
