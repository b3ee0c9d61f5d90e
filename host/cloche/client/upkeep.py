"""What is done with a whole store by the process that executes its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloche.client.runs import Run
from cloche.client.tenants import HostedRuns
from cloche.history import RunKey
from cloche.history.ids import TenantId, TimeMs
from cloche.operations import export, prune, replay, upgrade
from cloche.operations.filters import status_of
from cloche.run.code import code_of

if TYPE_CHECKING:
    from cloche_codegen import Workflow


class Upkeep(HostedRuns):
    """Pruning, checking, upgrading, verifying and importing, of the tenant's runs where it says so."""

    async def prune(
        self,
        *,
        older_than_s: float | None = None,
        status: str | None = None,
        workflow: str | None = None,
        dry_run: bool = False,
        by: str = "",
    ) -> prune.PruneReport:
        """Delete the runs that ended longer ago than `older_than_s`, then everything in the store that no run needs.

        Without `older_than_s` no run is deleted. With `dry_run` nothing is; the report says which runs would be. `by` is who
        does it, for the audit log.

        Raises:
            HistoryError: the code of a run is damaged: what is needed cannot be known, and is not collected.
        """
        store, now = self.connection.store, self.connection.world.now()
        keys: Sequence[RunKey] = []
        if older_than_s is not None:
            before = TimeMs(now - int(older_than_s * 1000))
            keys = await prune.prunable(store, before, tenant=self._tenant, status=status_of(status), workflow=workflow)
        if dry_run:
            return prune.PruneReport([key.run for key in keys], dry_run=True)
        gone: list[str] = []
        async for deleted in prune.delete(store, keys, now, by):
            gone += [key.run for key in deleted]
        collected = await prune.collect(store, now, by)
        return prune.PruneReport(gone, collected.parts, collected.blobs)

    async def check(self, workflow: Workflow) -> upgrade.CheckReport:
        """Hold every open run of a workflow against the code that it has today. Nothing is changed.

        A run that does not fit goes on under its own code; one that does can be moved with `upgrade`.
        """
        engine = self._host.engine
        code = code_of(workflow, engine)
        return upgrade.CheckReport(
            [fit async for fit in upgrade.fits(self.connection.store, engine, code, self._tenant)]
        )

    async def verify(self, run_id: str | None = None) -> replay.VerifyReport:
        """Check one run, or everything in the store, against its hashes."""
        return await replay.verify(self.connection.store, self._key(run_id) if run_id else None)

    async def import_(self, data: bytes, *, by: str = "") -> Run:
        """The run of an exported file, now in this store; if it is unfinished, this process goes on with it.

        Code that is not registered here, and was never in this store, is its tenant's, not the host's. `by` is who does it, for
        the audit log.

        Raises:
            ForeignFile, BrokenChain: the file is not what was exported.
            RunConflict: this store has another run of that id.
            LimitExceeded: the tenant has no room for it, or for one more open run.
        """
        worker = self._host._running
        sums = worker.starting.sums

        async def check_room(tenant: TenantId, size: int) -> None:
            await worker.admission.learn([tenant])
            async with sums.one_more_run(tenant):
                await sums.check_kept(tenant, size)

        is_ours = self.codes().__contains__
        key = await export.import_run(worker.store, data, self._host.policies, is_ours, by, check_room)
        await worker.starting.wake(key)
        await replay.row_of(worker.store, key)
        runs = HostedRuns(lambda: self.connection, key.tenant)
        return await runs.get(key.run)
