"""What other workers have and this one lacks: their runs are left to them, and are not taken and blocked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.worker.offers import offered_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engines import Code
    from cloche.run.clock import World
    from cloche.steps.registry import Registry
    from cloche.store import Leases

LOOK_EVERY_S = 1.0  # a worker that has joined, or gone, is known within that time


class Others:
    """Of one worker, whose name `worker` gives. Nothing is asked of the store while each run is of a workflow that it has.

    A run goes on wherever its steps are; so one of a workflow that nobody has is tried here all the same.
    """

    def __init__(self, leases: Leases, registry: Registry, world: World, worker: Callable[[], str]) -> None:
        self.names: set[str] = set()  # of workflows whose runs are left to others, as far as some were met
        self._leases = leases
        self._registry = registry
        self._world = world
        self._worker = worker
        self._offered: frozenset[str] = frozenset()
        self._looked: float | None = None

    async def have(self, code: Code) -> bool:
        """Whether runs of this code are for others: they have its workflow, and this worker has not.

        What a tenant has deployed every worker has.

        Raises:
            StoreError: the store did not answer.
        """
        if code.owner or self._registry.workflow(code.workflow) is not None:
            return False
        await self.look()
        if code.workflow not in self._offered:
            return False
        self.names.add(code.workflow)
        return True

    async def look(self) -> None:
        """See what there is, where that is not known from just now; raises as `have`."""
        now = self._world.monotonic()
        if self._looked is not None and now - self._looked < LOOK_EVERY_S:
            return
        others = [row for row in await self._leases.workers() if row.id != self._worker() and not row.is_dead]
        self._offered = frozenset(name for row in others for name in offered_by(row))
        self._looked = now
        self.names = {name for name in self.names & self._offered if self._registry.workflow(name) is None}
