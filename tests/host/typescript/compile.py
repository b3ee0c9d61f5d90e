"""Compiling in tests: under glass, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from cloche.engines import SandboxEngine
from cloche.errors import CompileError
from cloche.operations.typescript import Compiled, Given
from cloche.operations.typescript.compiling import compile_with

BYTES_MAX = 16 << 20


@cache
def engine() -> SandboxEngine:
    return SandboxEngine()


def given(files: Mapping[str, str | bytes] | str) -> Given:
    return Given({"flow.ts": files} if isinstance(files, str) else files)


def compiled(files: Given | str, entry: str = "flow.ts") -> Compiled:
    found = given(files) if isinstance(files, str) else files
    return compile_with(engine(), found.entry(entry), found, BYTES_MAX)


def problems(files: Given | str, entry: str = "flow.ts") -> list[tuple[str, int, int, str]]:
    """File, line, column and message of each."""
    try:
        compiled(files, entry)
    except CompileError as error:
        return [(one["file"], one["line"], one["column"], one["message"]) for one in error.facts["problems"]]
    return []
