"""What a person waits for at a prompt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Figure, median_us


def help_text() -> Iterator[Figure]:
    """`cloche --help`, process and all."""

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    bare = median_us(lambda: run("-c", "pass"), 9) / 1000
    yield Figure(
        "cloche --help", median_us(lambda: run("-m", "cloche.cli", "--help"), 9) / 1000, "ms", "bare python", bare, 150
    )
