"""A run as it stands, with the reason why it does not move: what the command line, HTTP and pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.history import RunMachine
from cloche.history.ids import run_key
from cloche.operations import replay
from cloche.operations.on_their_way import on_their_way
from cloche.operations.replay import blocked_sentence as blocked_sentence
from cloche.operations.start_requests import waiting_start, why_waiting
from cloche.operations.why import why
from cloche.run.code import load_code
from cloche.run.results import Folding, RunResult, outline_of
from cloche.status import FINAL, RunStatus
from cloche.store import HELD_BACK, record_pages
from cloche.worker.offers import published

if TYPE_CHECKING:
    from cloche.history import RunKey, TimeMs
    from cloche.history.ids import TenantId
    from cloche.store import RunRow, Store


@dataclass(frozen=True, slots=True)
class RunView:
    """`records` is how many there are; 0: no worker has begun the run, and `result` says its id, workflow and status alone.

    `why` is a sentence for people; `on_their_way` lists what a worker will tell the run.
    """

    result: RunResult
    records: int
    why: str
    on_their_way: Sequence[str] = ()

    def to_data(self) -> dict[str, Any]:
        """For JSON: the fields of the result, and these."""
        more = {"records": self.records, "why": self.why, "on_their_way": list(self.on_their_way)}
        return {**self.result.to_data(), **more}


async def row_there(store: Store, run_id: str, tenant: str) -> RunRow | None:
    """The index entry of a run, in one statement; None if no worker has begun it, or there is none.

    Raises:
        UsageError: the id is none that a run can have.
    """
    return await store.run(run_key(run_id, tenant))


async def view_of(store: Store, key: RunKey, now: TimeMs) -> RunView:
    """
    Raises:
        NotFound: there is no such run.
        ClocheError: what the request to start it was refused with.
        HistoryError: it is damaged.
    """
    if (request := await waiting_start(store, key)) is not None:
        pending = RunResult(key.run, request.workflow, RunStatus.PENDING, input=request.input)
        return RunView(pending, 0, await why_waiting(store, key, request))
    row, result = await replay.row_of(store, key), await replay.result_of(store, key)
    machine = await replay.machine_of(store, key)
    sentence = await _of_others(store, row, machine, now) or replay.why_not_moving(result, machine, now)
    return RunView(result, row.head_seq, sentence, await on_their_way(store, machine))


async def _of_others(store: Store, row: RunRow, machine: RunMachine, now: TimeMs) -> str | None:
    """Of a run that waits for others: for a permit, for a remote worker, or for the word of an operator."""
    calls = machine.open
    if row.status in FINAL or not (
        row.wake_at == HELD_BACK or calls.permits.queued or calls.away or await store.holds(row.key.tenant)
    ):
        return None
    found = await why(store, row.key, now)
    return f"{row.status}: {found.sentence}" if found.kind in ("permit", "remote", "held") else None


async def view_at(store: Store, run_id: str, tenant: str, seq: int) -> RunView:
    """A run as it stood with its record `seq`; with the last one, where it has fewer.

    Raises:
        NotFound: there is no such run, or no worker has begun it.
        HistoryError: it is damaged.
    """
    key = run_key(run_id, tenant)
    row = await replay.row_of(store, key)
    code = await load_code(store, row.code)
    out = RunResult(run_id, row.workflow, RunStatus.RUNNING)
    folding = Folding(out, RunMachine(key), outline_of(code))
    async for page in record_pages(store, key):
        for record in page[: max(seq - folding.machine.head_seq, 0)]:
            folding.take(record)
    folding.finish()
    out.status = folding.machine.status
    return RunView(out, folding.machine.head_seq, "")


@dataclass(frozen=True, slots=True)
class Startable:
    """A workflow that a tenant can start: what `input_schema` says (JSON Schema; None: not known here, or anything), whether a
    worker has it registered, and the ids of the versions that the tenant has deployed, the last first."""

    id: str
    input_schema: dict[str, Any] | None
    is_registered: bool
    versions: Sequence[str] = ()


async def startable(store: Store, tenant: TenantId) -> list[Startable]:
    """In the order of their ids."""
    offers = (await published(store)).offers
    deployed: dict[str, list[str]] = {}
    for version in await store.versions(tenant):
        deployed.setdefault(version.workflow, []).append(version.id)
    return [
        Startable(
            id,
            offers[id].input_schema if id in offers and id not in deployed else None,
            id in offers,
            deployed.get(id, []),
        )
        for id in sorted({*offers, *deployed})
    ]
