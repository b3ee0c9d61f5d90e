"""TypeScript that a tenant brings: compiled in a process of the tenant's own, as everything it brings is read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloche.engines import CellSource
from cloche.errors import CompileError, UsageError
from cloche.history import TenantId
from cloche.operations.typescript.bundles import by_name
from cloche.operations.typescript.compiling import COMPILE_LIMITS, Compiled, Turns, compile_files, compiler_code
from cloche.operations.typescript.resolving import Given
from cloche.sandbox.process.readers import Readers
from cloche.text import quoted

ENTRY = "flow.ts"  # what a source without a name is called


FILES_MAX, BYTES_MAX = 50_000, 64 << 20  # with all of node_modules; of what is compiled a policy bounds less
PATH_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Brought:
    """A tenant's files, by path; `main` is the one whose workflows are meant."""

    files: Mapping[str, str | bytes]
    main: str

    @classmethod
    def checked(cls, files: object, main: object) -> Brought:
        """
        Raises:
            UsageError: they are no files, or more than anybody looks through for a tenant.
        """
        if not isinstance(files, Mapping) or not isinstance(main, str):
            raise UsageError(
                "files are a mapping, of the path of each to its text or bytes, and main is one of the paths"
            )
        size = 0
        for path, content in files.items():
            if not isinstance(path, str) or len(path) > PATH_CHARS_MAX:
                raise UsageError(
                    f"{quoted(path)} is no path of a file: a text of at most {PATH_CHARS_MAX:,} characters"
                )
            if not isinstance(content, str | bytes):
                raise UsageError(f"file {quoted(path)} is of type {type(content).__name__}: give its text or its bytes")
            size += len(content)
        if len(files) > FILES_MAX or size > BYTES_MAX:
            raise UsageError(
                f"{len(files):,} files with {size:,} bytes are too many: bring at most {FILES_MAX:,} with {BYTES_MAX:,} bytes, "
                "what the workflow imports alone"
            )
        return cls(dict(files), main)


def compiled_by(engine: CellSource, readers: Readers, tenant: TenantId, brought: Brought, bytes_max: int) -> Compiled:
    """Compile them where nothing else is. Blocks.

    Raises:
        CompileError: they cannot be compiled.
        UsageError: `main` is not among them.
        CellLost, GuestUnavailable: as `Readers.read`.
    """
    code, files = compiler_code(engine), Given(brought.files)

    def opened() -> Turns:
        wasm = engine.guest("javascript")[1]
        return readers.opened(tenant, code.guest, lambda: wasm, code.source, COMPILE_LIMITS)

    return compile_files(opened, files.entry(brought.main), files, bytes_max)


def workflow_in(made: Compiled, wanted: str | None) -> str:
    """The name of the workflow that is meant: `wanted`, by its name or whole id, or the only one.

    Raises:
        UsageError: there is none of that name, or it is not said which.
    """
    named = by_name([one.id for one in made.workflows])
    if wanted is None and len(named) == 1:
        return next(iter(named))
    if wanted in named or wanted in named.values():
        assert wanted is not None
        return wanted
    offer = ", ".join(named)
    if wanted is None:
        raise UsageError(f"say which workflow is meant: deploy(…, workflow='…'); there are: {offer}")
    raise UsageError(f"it has no workflow '{wanted}'; there are: {offer}")


def facts_of(error: CompileError) -> dict[str, Any]:
    """For `DeployRefused`: where the first problem is, and all of them."""
    facts = error.facts
    place = f"{facts['file']}:{facts['line']}:{facts['column']}"
    return {"line": facts["line"], "column": facts["column"], "place": place, "problems": facts["problems"]}


def why(error: CompileError) -> str:
    """The problems, the place of the first left out: it is said before them."""
    first = error.facts["problems"][0] if error.facts["problems"] else None
    if first is None:
        return error.message.partition(": ")[2] or error.message
    lines = error.message.split("\n")[1:]
    lines[0] = first["message"]
    return "\n".join(lines)
