"""A disk that counts its syncs, is full, or fails, for a process of its own: `disk.c`, loaded in front of the C library."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from cloche_guest import artifacts
from cloche_guest.tools import place

SOURCE = Path(__file__).with_name("disk.c")


@dataclass(frozen=True)
class Disk:
    """Switches in `folder`, and what the process sees of them in `environment`."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        names = {"DISK_SYNCS": "syncs", "DISK_FULL": "full", "DISK_DEAD": "dead"}
        switches = {name: str(self.folder / file) for name, file in names.items()}
        return {**os.environ, **switches, "LD_PRELOAD": str(_library()), "PYTHONPATH": str(SOURCE.parents[1])}

    def fill(self) -> None:
        (self.folder / "full").touch()

    def make_room(self) -> None:
        (self.folder / "full").unlink()

    def fail(self) -> None:
        (self.folder / "dead").touch()

    def recover(self) -> None:
        (self.folder / "dead").unlink()

    @property
    def syncs(self) -> int:
        counted = self.folder / "syncs"
        return counted.stat().st_size if counted.exists() else 0


@cache
def _library() -> Path:
    """Compiled once, and kept by content."""
    folder = artifacts._cache_directory() / "native"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"disk-{blake2b(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not made.exists():
        part = folder / f"disk-{os.getpid()}.so"
        zig = str(folder.parent / "zig")
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *flags, str(SOURCE), "-o", str(part)],
            env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig},
            check=True,
        )
        place(part, made)
    return made
