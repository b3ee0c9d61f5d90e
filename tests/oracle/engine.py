"""`CellSource` of the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cloche.engines.code import Code, Language
from cloche.engines.protocol import Cell
from cloche.engines.sandboxed import SandboxEngine
from cloche.errors import UsageError
from cloche.history.check import Validator
from cloche.history.ids import TenantId
from cloche.sandbox import Limits
from cloche_codegen import Graph, GraphError
from oracle.cell import DirectCell
from oracle.code_strings import Evaluator
from oracle.program import Program

PROGRAMS_MAX = 256


class DirectEngine:
    """Interprets the graph of a run in this process: nothing is isolated and nothing metered, and a turn is cheap.

    It answers every event with the bytes that the sandbox would answer, so a run may begin on one engine and go on, or be
    replayed, on the other: runs are pinned to a guest here too, and the JavaScript one evaluates code strings in any case.
    `limits` are pinned for such a change of engine; here they bound the code strings alone, and what bounds the rest is the
    output and the number of commands of one event.

    It speaks as the guest of this version does. A run that is pinned to an older guest may find a difference, and is then
    blocked with a divergence: only its own guest answers for it.

    What code strings can see of the difference: a change they make to what they are given is lost, and what they made is
    plain data for the next one (a hole in a list is undefined, an ArrayBuffer bytes, an object of a class a plain object).
    One that asks for steps itself is stopped.
    """

    name = "direct"
    meter: str | None = None

    def __init__(self, limits: Limits | None = None) -> None:
        self._glass = SandboxEngine(limits)

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        return self._glass.guest(language)

    @property
    def validator(self) -> Validator:
        return self._glass.validator

    def limits(self) -> Limits:
        return self._glass.limits()

    def load(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> None:
        self.open(code, guest, limits, tenant)

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        """A fresh cell.

        Raises:
            LoadFailed: a code string is no JavaScript.
            UsageError: the run's code is hand-written, or a native workflow: there is no graph to interpret.
        """
        if not code.graph:
            raise UsageError(
                f"workflow '{code.workflow}' is hand-written code without a graph, which DirectEngine cannot interpret: "
                "run it with SandboxEngine"
            )
        try:
            program = _program(code.graph, code.language)
        except GraphError as error:
            raise UsageError(error.message) from error

        def evaluator() -> Evaluator:
            module = Code(code.workflow, code.guest, program.module, {}, "", abi=code.abi)
            return self._glass.open(module, guest, limits, tenant)

        if not program.codes:
            return DirectCell(program, evaluator, code.abi)
        beside = evaluator()  # at once: a code string that does not parse is found now, as the sandbox finds it
        return DirectCell(program, lambda: beside, code.abi)

    def thaw(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes) -> None:
        """Promises of this process cannot be frozen: runs are always replayed."""


@lru_cache(PROGRAMS_MAX)
def _program(graph: str, language: Language) -> Program:
    return Program(Graph.from_json(graph), language)
