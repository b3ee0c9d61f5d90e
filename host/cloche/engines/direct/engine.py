"""`DirectEngine`: workflows in this process, for tests and for code that is trusted."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cloche.engines.code import Code, Language
from cloche.engines.direct.cell import DirectCell
from cloche.engines.direct.prelude import prelude
from cloche.engines.files import MARK
from cloche.engines.protocol import Cell
from cloche.engines.sandboxed import SandboxEngine
from cloche.errors import UsageError
from cloche.history.check import Validator
from cloche.history.ids import TenantId
from cloche.sandbox import Limits
from cloche_codegen import Graph, GraphError, lower
from cloche_codegen.python import python

SOURCES_MAX = 256


class DirectEngine:
    """Runs the Python of a workflow in this process: nothing is isolated and nothing metered, and a turn is cheap. What stands
    inside of the Python guest stands here around it, so a debugger can step from the workflow into what it awaits.

    It answers every event with the bytes that the sandbox would answer, so a run may begin on one engine and go on, or be
    replayed, on the other: runs are pinned to a guest here too. A workflow of the JavaScript guest runs as the Python that is
    generated from the same graph; one that has code strings is JavaScript, and runs in a cell of that guest, as in the sandbox.
    So does, in a cell of the Python guest, a workflow that uses asyncio, whose loop there is the run's, or has several files.
    `limits` are pinned for a change of engine, and bound such cells; what bounds the rest is the output and the number of
    commands of one event.

    It speaks as the guest of this version does. A run that is pinned to an older guest may find a difference, and is then
    blocked with a divergence: only its own guest answers for it. So may one that asks for the order of a set of texts,
    which each process has for itself.
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
            LoadFailed: the code does not load.
            UsageError: the run's code is JavaScript that somebody wrote: there is no Python of it.
        """
        source = _source(code)
        if source is None:
            return self._glass.open(code, guest, limits, tenant)
        return DirectCell(prelude(), code, source)

    def thaw(
        self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes
    ) -> Cell | None:
        """Coroutines of this process cannot be frozen: runs are replayed, but for those of a cell."""
        return self._glass.thaw(code, guest, limits, tenant, frozen) if _source(code) is None else None


def _source(code: Code) -> str | None:
    """The Python that a run's code is, or that is generated from its graph; None where only a guest has what it needs."""
    if code.language == "python" and code.source:
        return None if "asyncio" in code.source or MARK in code.source else code.source
    if not code.graph:
        raise UsageError(
            f"workflow '{code.workflow}' is hand-written JavaScript without a graph, which DirectEngine cannot run: "
            "run it with SandboxEngine"
        )
    return _generated(code.graph)


@lru_cache(SOURCES_MAX)
def _generated(graph: str) -> str | None:
    module = lower(Graph.from_json(graph))
    try:
        return python(module).code
    except GraphError:
        return None
