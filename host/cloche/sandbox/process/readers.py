"""The host's side of reading what tenants bring: each text is read in a process that serves its tenant alone.

A spare one stands ready as soon as one was needed: to start takes half a second, most of it for imports. It belongs to a tenant
from its first use. What comes back is checked as everything that comes out of a process with cells is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from cloche.errors import CellLost
from cloche.history.ids import TenantId
from cloche.history.limits import Limits
from cloche.history.values import decode, encode
from cloche.sandbox.process.cell import Opening, ProcessCell, is_one_item
from cloche.sandbox.process.child import Child
from cloche.sandbox.process.pool import Pool
from cloche.sandbox.process.wire import Op, Status

READERS_MAX = 4  # that rest, of one app: about 50 MB each
READ_S = 10.0  # of CPU for one text; in wall time as much again, for a machine that is busy
ANSWER_BYTES_MAX = 64 << 20
_PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class GraphRead:
    """What a graph is: the source that it becomes, with the node of each line, and its stored form."""

    workflow: str
    language: Literal["javascript", "python"]
    source: str
    lines: dict[int, str]
    graph: str


@dataclass(frozen=True, slots=True)
class NoGraph:
    """Why a text is no graph: the first problems as (code, path, message), and how many there are."""

    code: str
    message: str
    problems: list[tuple[str, str, str]]
    count: int


class Readers:
    """The readers of one app. Safe to be used by any thread; `close` ends them."""

    def __init__(self, most: int = READERS_MAX, *, has_spare: bool = True) -> None:
        self._pool = Pool(most, spare.take if has_spare else _started)

    def read(self, tenant: TenantId, text: str) -> GraphRead | NoGraph:
        """Read a graph. Blocks.

        Raises:
            CellLost: it took more CPU, time or memory than a text may take, or the process went wrong.
            GuestUnavailable: no process can be started.
        """
        child = self._pool.child(tenant)
        number = child.admit(0)
        child.allow_cpu(READ_S)
        try:
            body = text.encode("utf-8", "surrogatepass")
            answer = child.ask(Op.READ, number, body, 0, wait_s=READ_S, bytes_max=ANSWER_BYTES_MAX)
        finally:
            child.forget(number)
        found = _found(answer.body) if answer.status is Status.DONE else None
        if found is None:
            child.end()
            raise CellLost("the process that read it answered out of form, and was ended")
        return found

    def shape(self, tenant: TenantId, language: str, graph: str, source: str) -> str:
        """What `shape_data` says of code, as JSON. Blocks; raises as `read`."""
        child = self._pool.child(tenant)
        number = child.admit(0)
        child.allow_cpu(READ_S)
        try:
            body = encode([language, graph, source])
            answer = child.ask(Op.SHAPE, number, body, 0, wait_s=READ_S, bytes_max=ANSWER_BYTES_MAX)
        finally:
            child.forget(number)
        found = decode(answer.body) if answer.status is Status.DONE and is_one_item(answer.body) else None
        if not isinstance(found, str):
            child.end()
            raise CellLost("the process that read it answered out of form, and was ended")
        return found

    def evaluate(self, tenant: TenantId, guest: str, wasm: Callable[[], bytes], source: str, limits: Limits) -> None:
        """Load source once, under glass. Blocks.

        Raises:
            LoadFailed, GuestFault: it does not load.
            CellLost, GuestUnavailable: as `read`.
        """
        self._pool.child(tenant).allow_cpu(READ_S + 2 * limits.wall_ms_per_event / 1000)
        child, number = Opening(self._pool, tenant, guest, source, wasm, limits, b"").made()
        child.forget(number)

    def opened(
        self, tenant: TenantId, guest: str, wasm: Callable[[], bytes], source: str, limits: Limits
    ) -> ProcessCell:
        """A cell of that code, for some turns: all of them together may take what one text may, and one turn of its limits.

        It is made when it is first used; then: LoadFailed, GuestFault, CellLost, GuestUnavailable.
        """
        self._pool.child(tenant).allow_cpu(READ_S + limits.wall_ms_per_event / 1000)
        return ProcessCell(Opening(self._pool, tenant, guest, source, wasm, limits, b""))

    def processes(self) -> dict[TenantId, Child]:
        """The readers that run, by tenant."""
        return self._pool.children()

    def close(self) -> None:
        self._pool.close()


class _Spare:
    """One reader that nobody has used yet, of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: Future[Child] | None = None

    def take(self) -> Child:
        """A reader that was never used. The next one is being started.

        Raises:
            GuestUnavailable
        """
        with self._lock:
            ready, self._next = self._next, _in_a_thread(_started)
        child = ready.result() if ready is not None else _started()
        return _started() if child.has_ended else child


def _started() -> Child:
    return Child(READ_S, entry="cloche.sandbox.process.reading")


def _in_a_thread(make: Callable[[], Child]) -> Future[Child]:
    made: Future[Child] = Future()

    def work() -> None:
        try:
            made.set_result(make())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=work, name="cloche-spare-reader", daemon=True).start()
    return made


spare = _Spare()


def _found(body: bytes) -> GraphRead | NoGraph | None:
    match decode(body) if is_one_item(body) else None:
        case [0, str(workflow), ("javascript" | "python") as language, str(source), str(lines), str(graph)]:
            by_line = _lines(lines)
            return None if by_line is None else GraphRead(workflow, language, source, by_line, graph)
        case [1, str(code), str(message), list(problems), int(count)] if len(problems) <= _PROBLEMS_MAX:
            if all(_is_problem(one) for one in problems):
                return NoGraph(code, message, [tuple(one) for one in problems], count)
    return None


def _is_problem(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 3 and all(isinstance(part, str) for part in one)


def _lines(text: str) -> dict[int, str] | None:
    try:
        return {line: node for line, node in json.loads(text) if type(line) is int and isinstance(node, str)}
    except (ValueError, TypeError, RecursionError):
        return None
