"""Workflows under glass, and the glass in a process of its own for every tenant.

A bug in wasmtime, or whatever else brings a process down, then costs a tenant the turns that it was in: the runs are rebuilt in
a new process. The process can open nothing, so what it needs is handed to it: the compiled guest, the source, a frozen cell.
What comes back is checked as what a guest writes is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cloche.engines.code import Code
from cloche.engines.protocol import Cell
from cloche.engines.sandboxed import SandboxEngine
from cloche.history.ids import TenantId
from cloche.sandbox import Limits
from cloche.sandbox.process.cell import Opening, ProcessCell
from cloche.sandbox.process.child import Child
from cloche.sandbox.process.pool import Pool

PROCESSES_MAX = 64  # about 35 MB each, besides the cells
PATIENCE_S = 10.0
SHARE_S = 5.0  # to begin a process and rebuild what was in it takes about one


class ProcessEngine(SandboxEngine):
    """As `SandboxEngine`, with the cells of each tenant in a process that serves no other, has an empty environment, and where
    the kernel allows it can open no file and reach no network.

    `processes` is how many there may be: where more tenants want one they have theirs in turns, `share_s` each, which is
    logged; what was in a process that ended is rebuilt when it is needed. `patience_s` is how much longer than its limit a
    turn may take before its process is taken to hang. `close` (or `with`) ends them all; so does the end of this process.
    """

    name = "process"

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        python_guest: Path | None = None,
        processes: int = PROCESSES_MAX,
        patience_s: float = PATIENCE_S,
        share_s: float = SHARE_S,
    ) -> None:
        super().__init__(limits, python_guest=python_guest)
        self._pool = Pool(processes, lambda: Child(patience_s), share_s)
        self._end = weakref.finalize(self, self._pool.close)

    def load(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> None:
        self._cell(code, guest, limits, tenant).make()

    def open(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId) -> Cell:
        """A cell that is made when it is first used: its process may have to be started."""
        return self._cell(code, guest, limits, tenant)

    def keeps(self, code: Code, limits: Limits) -> bool:
        """A cell is made where nobody waits for it."""
        return True

    def thaw(self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes) -> Cell:
        """Likewise. Whether the bytes are of this code is seen at once."""
        return self._cell(code, guest, limits, tenant, frozen)

    def _cell(
        self, code: Code, guest: Callable[[], bytes], limits: Limits, tenant: TenantId, frozen: bytes = b""
    ) -> ProcessCell:
        wasm = partial(self._wasm, code, guest)
        return ProcessCell(Opening(self._pool, tenant, code.guest, code.source, wasm, limits, frozen))

    def processes(self) -> dict[TenantId, Child]:
        """The processes that run now, by tenant."""
        return self._pool.children()

    def waiting(self) -> list[TenantId]:
        """The tenants that wait for a process of theirs, the next one first."""
        return self._pool.waiting()

    def place_in_s(self, tenant: TenantId) -> float:
        """0 if the tenant has a process, or may start one; else after how many seconds to ask again."""
        return self._pool.place_in_s(tenant)

    def close(self) -> None:
        """End all processes. Cells in them are lost; their runs are rebuilt wherever they continue."""
        self._end()

    def __enter__(self) -> ProcessEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
