"""What workers can start: each publishes its workflows in its row of the store, and clients read them there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.history import TimeMs
    from cloche.store import Store, WorkerRow
    from cloche_codegen import Workflow


@dataclass(frozen=True, slots=True)
class Offer:
    """A workflow that a worker can start. `version` is the digest of its graph; `since` when it was registered, in ms."""

    workflow: str
    version: str
    input_schema: dict[str, Any] | None  # JSON Schema; None: any input is taken
    since: int


@dataclass(frozen=True, slots=True)
class Published:
    """What the living workers of a store offer, by workflow: of several versions the one that was registered last.

    `is_complete`: there are workers, and each says what it has.
    """

    offers: Mapping[str, Offer]
    is_complete: bool


def pack_offers(workflows: Iterable[Workflow], now: TimeMs, hung_steps: int = 0) -> str:
    """As JSON. A workflow that is not committed cannot be started, and is left out.

    `hung_steps` are those that the worker does not wait for any more, and that have not ended.
    """
    offers = []
    for workflow in workflows:
        if workflow.committed:
            graph = workflow.graph
            schema = graph.input_schema if workflow.validate_inputs else None
            offers.append([workflow.id, graph.digest, schema, now])
    return json.dumps({"workflows": offers, "hung_steps": hung_steps} if hung_steps else offers)


async def published(store: Store) -> Published:
    """Raises as `Store`."""
    workers = [worker for worker in await store.leases.workers() if not worker.is_dead]
    offers = [Offer(*offer) for worker in workers for offer in _read(worker)[0]]
    newest = {offer.workflow: offer for offer in sorted(offers, key=lambda offer: offer.since)}
    return Published(newest, bool(workers) and all(worker.offers is not None for worker in workers))


def offered_by(worker: WorkerRow) -> list[str]:
    """The ids of the workflows that one worker can start, as it said last."""
    return [str(name) for name, *_ in _read(worker)[0]]


def hung_steps(worker: WorkerRow) -> int:
    """How many steps hang in a worker, as it said last."""
    return _read(worker)[1]


def workflows_of(worker: WorkerRow) -> list[str] | None:
    """The ids of the workflows that a worker can start, in their order; None: it does not say."""
    return None if worker.offers is None else sorted({str(offer[0]) for offer in _read(worker)[0]})


def _read(worker: WorkerRow) -> tuple[list[list[Any]], int]:
    said = json.loads(worker.offers or "[]")
    return (said["workflows"], said["hung_steps"]) if isinstance(said, dict) else (said, 0)
