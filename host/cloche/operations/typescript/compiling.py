"""The compiler's host: it runs in the JavaScript guest, asks for files as a workflow does for steps, and is bounded here."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Protocol

import cloche_guest
from cloche.engines import CellSource, Code, pinned_guest
from cloche.errors import ClocheError, CompileError, GuestFault, GuestUnavailable, LimitExceeded
from cloche.history import DEFAULT_TENANT, TimeMs
from cloche.history.limits import Limits
from cloche.history.messages import CallStep, CompleteRun, FailRun, Started, StepCompleted
from cloche.history.output import split_output, unpack_command
from cloche.history.values import plain
from cloche.operations.typescript.problems import CompileProblem, check_problems
from cloche.operations.typescript.resolving import Missing, Resolver, SourceFile
from cloche.run.source_maps import encoded_map

# Of compiling one bundle. A file of 1 MB of TypeScript takes about a tenth of each.
COMPILE_LIMITS = Limits(
    fuel_per_event=40_000_000_000,
    fuel_per_load=20_000_000_000,
    wall_ms_per_event=20_000,
    memory_bytes=512 << 20,
    image_bytes=64 << 20,
)
ROUNDS_MAX = 1_000  # of files that are asked for at once: each has to bring a new one
FILES_MAX = 5_000
EXPORT = "export default globalThis.__private_workflows;\n"


class Turns(Protocol):
    """A cell with the compiler in it."""

    def turn(self, events: Sequence[bytes]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Marked:
    """A function that is marked: its id, which other builders give it too, its name in the file, and where it is."""

    id: str
    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """What runs under glass: `source` is one module, the same for all its workflows, with its source map in the last line."""

    source: str
    workflows: tuple[Marked, ...]
    steps: tuple[Marked, ...]
    files: tuple[str, ...] = field(default=())

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@cache
def compiler_source() -> str:
    """
    Raises:
        GuestUnavailable: this installation has no compiler, and it cannot be built.
    """
    try:
        return cloche_guest.ensure_compiler().read_text("utf-8")
    except cloche_guest.GuestError as error:
        raise GuestUnavailable(f"there is no compiler of TypeScript: {error}") from error


def compiler_code(engine: CellSource) -> Code:
    """The compiler, as code for a cell."""
    guest, abi = pinned_guest(engine, "javascript")
    return Code("compile", guest, compiler_source(), {}, "", abi=abi)


def compile_with(engine: CellSource, entry: SourceFile, resolve: Resolver, bytes_max: int) -> Compiled:
    """As `compile_files`, in a cell of `engine`."""
    code = compiler_code(engine)

    def opened() -> Turns:
        return engine.open(code, lambda: engine.guest("javascript")[1], COMPILE_LIMITS, DEFAULT_TENANT)

    return compile_files(opened, entry, resolve, bytes_max)


def compile_files(opened: Callable[[], Turns], entry: SourceFile, resolve: Resolver, bytes_max: int) -> Compiled:
    """The script of an entry and all that it imports, at most `bytes_max` bytes of sources. Blocks.

    Raises:
        CompileError: it cannot be compiled: every problem has its file, line and column.
        GuestUnavailable: there is no compiler.
    """
    asking = _Asking(resolve, bytes_max, entry)
    try:
        made = _led(opened(), asking, entry)
    except LimitExceeded as error:
        raise _unreadable(entry, error) from error
    except GuestFault as error:
        raise _unreadable(entry, error) from error
    problems = [CompileProblem.of(one) for one in made.get("problems", ())]
    check_problems(entry.path, problems)
    return _compiled(made, asking)


def _unreadable(entry: SourceFile, error: ClocheError) -> CompileError:
    return CompileError(
        f"{entry.path} cannot be compiled: it took more than a source may take: {error.message}",
        file=entry.path,
        line=1,
        column=1,
        problems=[],
    )


class _Asking:
    """Answers the compiler's questions, and keeps what it was given."""

    def __init__(self, resolve: Resolver, bytes_max: int, entry: SourceFile) -> None:
        self._resolve, self._bytes_max = resolve, bytes_max
        self._size = 0
        self.files: dict[str, SourceFile] = {}
        self.take(entry)

    def answer(self, call: CallStep) -> dict[str, Any]:
        asked = call.arguments[0] if call.arguments else None
        match asked:
            case {"from": str(importer), "name": str(name)}:
                found = self._resolve(importer, name)
            case _:
                found = Missing("the compiler asked for nothing")
        if isinstance(found, Missing):
            return {"missing": found.why}
        self.take(found)
        return found.to_wire()

    def take(self, file: SourceFile) -> None:
        if file.path in self.files:
            return
        self.files[file.path] = file
        self._size += len(file.text.encode("utf-8", "surrogatepass"))
        if self._size > self._bytes_max or len(self.files) > FILES_MAX:
            largest = sorted(self.files.values(), key=lambda one: (-len(one.text), one.path))[:3]
            names = ", ".join(f"{one.path} ({len(one.text):,})" for one in largest)
            raise CompileError(
                f"{file.path} is one too many: what is compiled has more than {self._bytes_max:,} bytes or "
                f"{FILES_MAX:,} files; the largest are {names}",
                file=file.path,
                line=1,
                column=1,
                problems=[],
            )


def _led(cell: Turns, asking: _Asking, entry: SourceFile) -> dict[str, Any]:
    """What the compiler gives: it is led as any workflow is, at time 0, and what it asks for is answered at once."""
    events = [Started(TimeMs(0), bytes(16), entry.to_wire(), {}).pack()]
    for _ in range(ROUNDS_MAX):
        commands = [unpack_command(one) for each in split_output(cell.turn(events)) for one in each]
        for command in commands:
            if isinstance(command, CompleteRun) and isinstance(command.value, dict):
                return command.value
            if isinstance(command, FailRun):
                failure = command.failure
                raise GuestFault(f"the compiler failed with {failure.name}: {failure.message}")
        calls = [one for one in commands if isinstance(one, CallStep)]
        if not calls:
            raise GuestFault("the compiler came to rest without a result")
        events = [StepCompleted(TimeMs(0), call.call, plain(asking.answer(call))).pack() for call in calls]
    raise GuestFault(f"the compiler asked more than {ROUNDS_MAX:,} times for files")


def _compiled(made: dict[str, Any], asking: _Asking) -> Compiled:
    marked = [tuple(_marked(one) for one in made[name]) for name in ("workflows", "steps")]
    sources = [asking.files[one["path"]] for one in made["files"]]
    data = encoded_map(
        [(one.path, None if one.is_package else one.text) for one in sources],
        [(one["line"], one["lines"], one["shifts"]) for one in made["files"]],
    )
    inlined = b64encode(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()).decode()
    source = f"{made['code']}\n{EXPORT}//# sourceMappingURL=data:application/json;base64,{inlined}\n"
    return Compiled(source, marked[0], marked[1], tuple(one.path for one in sources))


def _marked(data: dict[str, Any]) -> Marked:
    return Marked(str(data["id"]), str(data["name"]), str(data["file"]), int(data["line"]))
