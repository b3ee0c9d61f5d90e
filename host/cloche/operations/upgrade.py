"""Before and after a deploy: which open runs fit today's code, and moving those that do.

A run goes on under the code that it began with. It can be moved to other code that replays its whole history, command for
command (where `patched` answers for what was added since); that is recorded, and from there it goes on under the new code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from cloche.engines import CellSource, Code
from cloche.errors import ClocheError, Divergence, LeasedElsewhere, NotFound, UsageError
from cloche.history import RunKey, RunMachine, TimeMs
from cloche.history.lifecycles import RunPhase
from cloche.history.limits import Limits
from cloche.history.messages import Upgraded
from cloche.history.notes import unpack_created
from cloche.history.replay import DivergenceReport, script
from cloche.operations.acts import Act, write_act
from cloche.operations.finding import filter_of, find
from cloche.operations.replay import ReplayReport, replay, row_of
from cloche.run.clock import SystemWorld
from cloche.run.code import load_code
from cloche.status import FINAL, RunStatus
from cloche.store import Append, NewCode, RunRow, Store, all_records, blob_digest
from cloche.worker.membership import Membership


@dataclass(frozen=True, slots=True)
class Fit:
    """How an open run stands to other code: it has it already, the code replays its history, or from where on it does not."""

    run_id: str
    status: RunStatus
    is_same: bool = False
    divergence: DivergenceReport | None = None
    problem: str | None = None  # why it could not be said

    @property
    def ok(self) -> bool:
        return self.divergence is None and self.problem is None

    def to_data(self) -> dict[str, Any]:
        divergence = self.divergence.to_data() if self.divergence else None
        return {
            "run_id": self.run_id,
            "status": self.status,
            "ok": self.ok,
            "same_code": self.is_same,
            "since": self.divergence.seq if self.divergence else None,
            "divergence": divergence,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """`ok` if every open run fits."""

    fits: list[Fit] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(fit.ok for fit in self.fits)


async def fits(store: Store, engine: CellSource, code: Code, tenant: str | None = None) -> AsyncIterator[Fit]:
    """Each open run of the workflow, held against `code`. Nothing is changed."""
    for row in await store.runs(tenant=tenant, workflow=code.workflow):
        if row.status in (*FINAL, RunStatus.PENDING):
            continue
        try:
            if await load_code(store, row.code) == code:
                yield Fit(row.key.run, row.status, is_same=True)
            else:
                yield Fit(row.key.run, row.status, divergence=(await replay(store, row.key, engine, code)).divergence)
        except ClocheError as error:
            yield Fit(row.key.run, row.status, problem=error.message)


@dataclass(frozen=True, slots=True)
class FitPage:
    """Open runs held against the code of this digest, newest first. `next`: where the rest begins; None: there is none."""

    digest: str
    fits: list[Fit]
    next: str | None


async def fits_page(
    store: Store, engine: CellSource, code: Code, tenant: str, most: int = 20, after: str | None = None
) -> FitPage:
    """Up to `most` open runs of the workflow, held against `code`. Nothing is changed.

    Raises:
        UsageError: no page has given `after`.
    """
    digest, cursor = blob_digest(code.pack()), after
    found: list[Fit] = []
    while len(found) < most:
        page = await find(store, filter_of(tenant, workflow=code.workflow), None, most - len(found), cursor)
        found += [
            await _fit(store, engine, code, digest, row)
            for row in page
            if row.status not in (*FINAL, RunStatus.PENDING)
        ]
        cursor = page.next
        if cursor is None:
            break
    return FitPage(digest, found, cursor)


async def _fit(store: Store, engine: CellSource, code: Code, digest: str, row: RunRow) -> Fit:
    if row.code == digest:
        return Fit(row.key.run, row.status, is_same=True)
    try:
        return Fit(row.key.run, row.status, divergence=(await replay(store, row.key, engine, code)).divergence)
    except ClocheError as error:
        return Fit(row.key.run, row.status, problem=error.message)


async def upgrade(
    store: Store, engine: CellSource, key: RunKey, code: Code, worker: str, now: TimeMs, by: str = ""
) -> ReplayReport:
    """Move a run that nobody executes to `code`. Once this returns, that is durable. `by`: who does it, for the audit log.

    Raises:
        NotFound: there is no such run.
        Divergence: the code does not fit its history; nothing has changed. The report is its `report`.
        LeasedElsewhere: a worker executes it: let it come to rest, or stop the worker.
        UsageError: it has ended, has not begun, is being canceled, or is another workflow's.
    """
    row = await row_of(store, key)
    if row.workflow != code.workflow:
        raise UsageError(f"run {key} is of workflow '{row.workflow}', not of '{code.workflow}'")
    if row.status in (*FINAL, RunStatus.PENDING):
        raise UsageError(f"run {key} is {row.status}: only a run under way can be moved to other code")
    claimed = await store.leases.claim(worker, key)
    if claimed is None:
        raise LeasedElsewhere(
            f"run {key} is executed by a worker: wait until it comes to rest, or stop that worker", run_id=key.run
        )
    lease = claimed.lease
    try:
        report = await replay(store, key, engine, code)
        if report.divergence is not None:
            raise Divergence(str(report.divergence), report=report.divergence)
        await write_act(
            store, Act.UPGRADED, by, now, key.tenant, run=key.run, before=row.code, code=blob_digest(code.pack())
        )
        await _append(store, engine, key, code, now, lease)
        return report
    finally:
        left = await row_of(store, key)
        if lease is not None and left.lease == lease:
            await store.leases.release(key, lease, left.status, left.wake_at)


async def upgrade_each(
    store: Store, engine: CellSource, keys: Iterable[RunKey], code: Code, by: str = "", *, goes_on: bool = False
) -> AsyncIterator[tuple[RunKey, str | None]]:
    """Move runs one by one, as a worker that lives for so long: each with why it was not moved, if it was not.

    With `goes_on` also one that has ended or is gone meanwhile is such a reason.

    Raises:
        NotFound, UsageError, StoreError: as `upgrade`; those before were moved.
    """
    world = SystemWorld()
    membership = Membership(store.leases, world)
    await membership.join()
    try:
        for key in keys:
            problem = None
            try:
                await upgrade(store, engine, key, code, membership.worker, world.now(), by)
            except (Divergence, LeasedElsewhere) as error:
                problem = error.message
            except (NotFound, UsageError) as error:
                if not goes_on:
                    raise
                problem = error.message
            yield key, problem
    finally:
        await membership.leave()


async def _append(store: Store, engine: CellSource, key: RunKey, code: Code, now: TimeMs, lease: Any) -> None:
    records = await all_records(store, key)
    machine = RunMachine(key)
    machine.validator = engine.validator
    for record in records:
        machine.absorb(record)
    if machine.phase not in (RunPhase.RUNNING, RunPhase.PAUSED):
        raise UsageError(f"run {key} is {machine.status}: only a run under way can be moved to other code")
    new = _new_code(engine, code)
    upgraded = Upgraded(now, new.code, code.guest)
    limits = Limits.from_data(unpack_created(records[0]).limits)
    cell = engine.open(code, lambda: new.blobs[code.guest], limits, key.tenant)
    cell.turn(script(records, upgrading=True).events)
    batch = machine.accept([upgraded], cell.turn([upgraded.pack()]), now)
    status, wake_at = machine.status, machine.wake_at
    append = Append(
        key, batch.expect, batch.records, status, wake_at, now, lease=lease, release=True, code=new, marks=batch.marks
    )
    (refused,) = await store.commit([append])
    if refused is not None:
        raise refused


def _new_code(engine: CellSource, code: Code) -> NewCode:
    guest, wasm = engine.guest(code.language)
    packed = code.pack()
    return NewCode(blob_digest(packed), {guest: wasm, blob_digest(packed): packed})
