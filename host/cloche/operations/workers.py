"""Who executes the runs of a store, as the store knows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cloche.worker.offers import hung_steps, workflows_of

if TYPE_CHECKING:
    from cloche.store import Store


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker. `is_dead`: its process is known to have ended. `workflows` are those that it can start, None: it does not say;
    `runs` is how many it drives now; `hung_steps` as it said last."""

    id: str
    is_dead: bool
    workflows: list[str] | None
    hung_steps: int
    runs: int

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def worker_infos(store: Store) -> list[WorkerInfo]:
    """All workers of a store, also those that have died and were not evicted yet, in the order of their names."""
    found = []
    for worker in sorted(await store.leases.workers(), key=lambda one: one.id):
        runs = len(await store.leases.owned(worker.id))
        found.append(WorkerInfo(worker.id, worker.is_dead, workflows_of(worker), hung_steps(worker), runs))
    return found
