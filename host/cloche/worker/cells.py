"""The cells of one worker's runs, and the code that they are made of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cloche.engines import Cell, CellSource, Code, SandboxEngine
from cloche.errors import ClocheError, LimitExceeded
from cloche.history import RunKey, Seq, TenantId
from cloche.history.check import Validator
from cloche.history.limits import Limits
from cloche.run.code import guest_of, load_code
from cloche.sandbox import base_image, is_compiled
from cloche.sandbox.switch_interval import switch_interval
from cloche.store import Checkpoints, NewRun, Store, blob_digest
from cloche.tenancy.cache import TenantCache
from cloche.worker.cell_cache import CellCache

if TYPE_CHECKING:
    from cloche.run.lanes import Lanes
    from cloche.run.ports import CellOwner

GUESTS_MAX = 4  # kept, of those that runs are pinned to: some MB each
CODES_BYTES_MAX = 256 << 20  # of bundles that are at hand
CHECKPOINTS_S_MAX = 2.0  # how long the end of a worker waits for those on their way

log = logging.getLogger("cloche")


class WorkerCells:
    """Implements `Cells` of `run.ports` for one engine."""

    def __init__(
        self,
        store: Store,
        engine: CellSource,
        lanes: Lanes,
        checkpoints: Checkpoints,
        *,
        checkpoint_every: int,
        cached_bytes_max: int,
        memory_of: Callable[[TenantId], int],
        switch_interval_s: float | None,
    ) -> None:
        self.engine = engine
        self.checkpoint_every = checkpoint_every
        self.cached = CellCache(cached_bytes_max, memory_of)
        self.used = self.cached.used
        self._store = store
        self._lanes = lanes
        self._checkpoints = checkpoints
        self._codes: TenantCache[str, Code] = TenantCache(CODES_BYTES_MAX)
        self._guests: dict[str, Callable[[], bytes]] = {}
        self._compiled: set[str] = set()  # digests of guests that take milliseconds from now on
        self._compiling = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()  # checkpoints on their way
        self._switch_interval_s = switch_interval_s
        self._restore_interval: Callable[[], None] | None = None

    def begin(self) -> None:
        """Cells are used from now on: the process's switch interval may be shortened (`sandbox.switch_interval`)."""
        self._restore_interval = switch_interval.choose(self._switch_interval_s)

    def end(self) -> None:
        """No cell is used any more: put the switch interval back."""
        if self._restore_interval is not None:
            self._restore_interval()

    @property
    def meter(self) -> str | None:
        """What counts fuel; None where nothing is counted."""
        return self.engine.meter

    @property
    def validator(self) -> Validator | None:
        """What checks large outputs faster than `history.check`."""
        return self.engine.validator

    # ---- code ----

    async def code(self, digest: str) -> Code:
        """A code bundle of the store.

        Raises:
            HistoryError: it is not there, or damaged.
        """
        code = self._codes.get(digest)
        if code is None:
            code = await load_code(self._store, digest)
            self._keep(digest, code)
        return code

    def _keep(self, digest: str, code: Code) -> None:
        self._codes.put(digest, code, len(code.source) + len(code.graph), code.owner)

    def new_run(self, code: Code) -> NewRun:
        """A run that is pinned to the code and its guest, which go into the store with it if they are not there."""
        packed = code.pack()
        digest = blob_digest(packed)
        if digest not in self._codes:
            self._keep(digest, code)
        guest_digest, wasm = self.engine.guest(code.language)
        return NewRun(code.workflow, digest, {guest_digest: wasm, digest: packed})

    async def prewarm(self, tenant: TenantId, codes: Sequence[Code]) -> None:
        """Have the engine load these, one after the other, in the threads for heavy turns."""

        def load() -> None:
            for code in codes:
                try:
                    self.engine.load(code, lambda: b"", self.engine.limits(), tenant)
                except ClocheError as error:
                    log.warning("the code of workflow '%s' does not load: %s", code.workflow, error.message)

        await asyncio.get_running_loop().run_in_executor(self._lanes.pool, load)

    async def compile(self, code: Code) -> None:
        """Compile the guest of `code` if this machine never has. A run begins after that: the seconds are no step's."""
        if self.meter is None or code.guest in self._compiled:
            return
        async with self._compiling:
            if code.guest not in self._compiled and not is_compiled(code.guest):
                wasm = await self._guest(code)
                work = partial(base_image, code.guest, wasm())
                await asyncio.get_running_loop().run_in_executor(self._lanes.pool, work)
            self._compiled.add(code.guest)

    # ---- cells ----

    async def open(self, tenant: TenantId, code: Code, limits: Limits) -> Cell:
        """A fresh cell of a run; raises as `Lanes.open`."""
        guest = await self._guest(code)
        make = partial(self.engine.open, code, guest, limits, tenant)
        if isinstance(self.engine, SandboxEngine):
            return await self._lanes.open(tenant, code, limits, make, partial(self.engine.keeps, code, limits))
        return await self._lanes.open(tenant, code, limits, make)

    async def thaw(self, tenant: TenantId, code: Code, limits: Limits, frozen: bytes) -> Cell | None:
        """The cell of a checkpoint, made beside the loop: a small one may become large. Raises as `CellSource.thaw`."""
        guest = await self._guest(code)
        return await self._lanes.beside(tenant, partial(self.engine.thaw, code, guest, limits, tenant, frozen))

    async def _guest(self, code: Code) -> Callable[[], bytes]:
        """What gives the guest of `code`: the store is not asked by the threads that need it."""
        if code.guest not in self._guests:
            if len(self._guests) == GUESTS_MAX:
                del self._guests[next(iter(self._guests))]
            self._guests[code.guest] = await guest_of(self._store, self.engine, code)
        return self._guests[code.guest]

    def keep(self, owner: CellOwner, size: int) -> None:
        """`owner` has a cell of `size` bytes now; others may have to let go of theirs."""
        self.cached.add(owner, size)

    def save(self, key: RunKey, seq: Seq, pack: Callable[[], bytes | None]) -> None:
        """Pack a checkpoint and write it, beside the loop; it is lost if the process ends before."""

        async def write() -> None:
            try:
                data = await asyncio.get_running_loop().run_in_executor(self._lanes.pool, pack)
                if data is not None:
                    await self._checkpoints.put(key, seq, data)
            except LimitExceeded as error:
                log.warning("%s; it is not kept", error.message)
            except Exception:
                log.exception("a checkpoint of run %s was not written; the run is not affected", key)

        written = asyncio.create_task(write())
        self._writes.add(written)
        written.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """As `end`, after a moment for the checkpoints that are on their way."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=CHECKPOINTS_S_MAX)
        self.end()
