"""Questions that a store alone can answer: results, listings, replay, verification. No run is executed here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cloche.engines import Cell, CellSource, Code
from cloche.errors import GuestFault, HistoryError, NotFound
from cloche.history import DEFAULT_TENANT, Kind, Record, RunKey, RunMachine
from cloche.history.limits import Limits
from cloche.history.marks import STEP, marks_in
from cloche.history.notes import RunCreated, unpack_created
from cloche.history.replay import DivergenceReport, find_divergence, script
from cloche.history.resting import row_at_rest, waits_for_children
from cloche.run.child_waits import ChildWait, told
from cloche.run.code import guest_of, load_code
from cloche.run.meter import Tally
from cloche.run.results import RunResult, fold, outline_of
from cloche.status import FINAL, RunStatus
from cloche.store import HELD_BACK, Finding, Metered, RunRow, Store, all_records, first_record, read_through
from cloche.tenancy.beside import beside
from cloche.text import duration, sentence_of, shown

PYTHON_FUEL_SHARE = 200  # seen: 26 for an event of 90 characters, which burns 90,000


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What came of feeding a history to a fresh cell.

    `seconds` is the time in the guest for all events; `state_hash` proves the state it ended in. `divergence` is None if every
    command was the one in the history. `fuel` is what the events burnt, `fuel_recorded` what the run was billed for: None where
    the two cannot be compared (other code or another meter, a run that moves, was imported, or is older than its meter). In the
    JavaScript guest they are equal; CPython reads text by words, so that what it burns depends a little on where in the window
    an event lies, and so on the batch: `fuel_tolerance`.
    """

    run_id: str
    events: int
    seconds: float
    divergence: DivergenceReport | None
    state_hash: str | None
    ended_by_fault: bool
    fuel: int = 0
    fuel_recorded: int | None = None
    fuel_tolerance: int = 0

    @property
    def ok(self) -> bool:
        return self.divergence is None and not self.fuel_differs

    @property
    def fuel_differs(self) -> bool:
        """Whether the same commands took other computing than the run was billed for."""
        return self.fuel_recorded is not None and abs(self.fuel - self.fuel_recorded) > self.fuel_tolerance

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`findings` is empty if every record is the one that was written."""

    runs: int
    records: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


async def row_of(store: Store, key: RunKey) -> RunRow:
    """Raises:
    NotFound: with what to do.
    """
    row = await store.run(key)
    if row is None:
        option = "" if key.tenant == DEFAULT_TENANT else f" --tenant {key.tenant}"
        raise NotFound(
            f"there is no run {key} in this store; 'cloche runs{option}' lists what there is", kind="run", id=key.run
        )
    return row


async def created(store: Store, key: RunKey) -> RunCreated:
    """What the first record of a run says: what it is pinned to.

    Raises:
        HistoryError: it cannot be read.
    """
    first = await first_record(store, key)
    if first is None:
        raise HistoryError(f"run {key} has no records")
    return unpack_created(first)


async def result_of(store: Store, key: RunKey) -> RunResult:
    """The run as it stands, values as they are stored."""
    row = await row_of(store, key)
    return await fold(store, row, outline_of(await load_code(store, row.code)))


async def replay(store: Store, key: RunKey, engine: CellSource, code: Code | None = None) -> ReplayReport:
    """Feed a run's history to a fresh cell, of its own code or of `code`, and compare every command.

    Raises:
        NotFound, HistoryError: the run cannot be read.
        GuestFault: the code was stopped where the history was not.
    """
    row = await row_of(store, key)
    pinned = await load_code(store, row.code)
    billed = await store.metered(key)
    records = await all_records(store, key)
    # Beside the event loop, all of it: what is long to read, to feed, to compare or to hash is somebody's pause.
    reads = partial(script, records, upgrading=code is not None and code != pinned)
    part = await beside(key.tenant, reads)
    events = part.events[:-1] if part.faulted else part.events
    if not events:  # its code was stopped before it answered anything, perhaps while it was loaded
        return ReplayReport(key.run, 0, 0.0, None, None, part.faulted)
    limits = Limits.from_data(unpack_created(records[0]).limits)
    use = code or pinned
    open_cell = partial(engine.open, use, await guest_of(store, engine, use), limits, key.tenant)
    cell, output, seconds = await beside(key.tenant, partial(_fed, open_cell, events, part.expected))
    expected = b"".join(part.expected[: len(events)])
    divergence = None
    if output != expected:
        finds = partial(find_divergence, key.run, part, output, use.lines, pinned.lines)
        divergence = await beside(key.tenant, finds)
    fuel = await _comparable(store, key, billed, engine) if use == pinned and divergence is None else None
    return ReplayReport(
        key.run,
        len(events),
        seconds,
        divergence,
        await beside(key.tenant, cell.state_hash),
        part.faulted,
        cell.fuel_used,
        fuel,
        (fuel or 0) // PYTHON_FUEL_SHARE if use.language == "python" else 0,
    )


def _fed(
    open_cell: Callable[[], Cell], events: Sequence[bytes], expected: Sequence[bytes]
) -> tuple[Cell, bytes, float]:
    """A fresh cell that was given the events, its output, and the seconds that it took. Blocks; used beside the event loop.

    Raises:
        GuestFault: the cell was stopped where the history was not.
    """
    cell = open_cell()
    begin = time.perf_counter()
    try:
        output = cell.turn(events)
    except GuestFault:  # a guest that has left the history does not know the calls that are answered later
        cell = open_cell()
        output = _up_to_the_difference(cell, events, expected)
    return cell, output, time.perf_counter() - begin


async def _comparable(store: Store, key: RunKey, billed: Metered | None, engine: CellSource) -> int | None:
    """The fuel of a run that the same engine must burn again; None if it goes on meanwhile, or nobody knows."""
    if billed is None or billed.meter is None or billed.meter != engine.meter or await store.metered(key) != billed:
        return None
    return billed.usage.fuel


def _up_to_the_difference(cell: Cell, events: Sequence[bytes], expected: Sequence[bytes]) -> bytes:
    """The output of the events up to the first that is answered otherwise than expected.

    Raises:
        GuestFault: the cell was stopped before.
    """
    output = b""
    for event, then in zip(events, expected, strict=False):
        now = cell.turn([event])
        output += now
        if now != then:
            break
    return output


async def verify(store: Store, key: RunKey | None) -> VerifyReport:
    """Check one run or everything in the store: records against their hashes, rows of runs against their records."""
    rows: Sequence[RunRow] = [await row_of(store, key)] if key else await store.runs()
    findings = await store.audit(key)
    damaged = {finding.run for finding in findings}
    for row in rows:
        if row.key.run not in damaged:
            findings += [Finding(row.key.run, None, problem) async for problem in _wrong_in(store, row)]
    counts = [row.head_seq for row in rows if isinstance(row.head_seq, int)]  # a damaged file can hold anything
    return VerifyReport(len(rows), sum(counts), findings)


async def _wrong_in(store: Store, row: RunRow) -> AsyncIterator[str]:
    """What the row of a run says otherwise than its records. A row is an index: everything in it follows from them."""
    if row.head_seq == 0:  # no run is without records: this is what a store gives for an entry that it cannot read
        yield f"the entry of run {row.key.run} is not as it was written"
        return
    machine, workflow, tally, derived_marks = RunMachine(row.key), "", Tally(), dict[str, str]()
    last: Record | None = None
    # Before the records: an append that comes between is seen by them.
    metered, awaited = await store.metered(row.key), await store.awaited(row.key)
    marks = await store.marks(row.key)

    def take(page: list[Record]) -> None:
        nonlocal workflow, last
        for record in page:
            machine.absorb(record)
            tally.add(record)
            derived_marks.update(marks_in(record))
            if record.kind is Kind.RUN_CREATED:
                workflow = unpack_created(record).workflow
            last = record

    try:
        await read_through(store, row.key, take)
    except HistoryError as error:
        yield error.message
        return
    if last is None or (last.seq, last.hash) != (row.head_seq, row.head_hash):
        return  # somebody appends meanwhile
    derived = {"workflow": workflow, "updated_at": last.time, **_at_rest(row, machine)}
    for name, value in derived.items():
        if getattr(row, name) != value:
            yield f"the row of the run has {name} {_plain(getattr(row, name))!r}, and its records make it {_plain(value)!r}"
    for problem in (*_wrong_names(machine, awaited), *_wrong_marks(marks, derived_marks)):
        yield problem
    if metered is not None and metered.meter is not None:
        for name in ("events", "steps", "log_bytes"):
            if (billed := getattr(metered.usage, name)) != (used := getattr(tally.usage(), name)):
                yield f"the run is billed for {billed} {name}, and its records make it {used}"
    if await store.blob(row.code) is None:
        yield f"the code {row.code[:12]} that the run is pinned to is not in the store"


def _at_rest(row: RunRow, machine: RunMachine) -> dict[str, Any]:
    """What its row says of a run that nobody drives; nothing of one that somebody takes up, or cannot."""
    if row.status in (RunStatus.RUNNING, RunStatus.BLOCKED) and not machine.ended:
        return {}
    status, wake_at = row_at_rest(machine)
    if status == RunStatus.PENDING and machine.open.permits and row.wake_at == HELD_BACK:
        wake_at = HELD_BACK  # it waits for permits
    return {"status": status, "wake_at": wake_at}


def _wrong_marks(marks: Mapping[str, str], derived: Mapping[str, str]) -> Iterator[str]:
    """What the run is found by otherwise than its records say. Of what failed in an older release there are no marks."""
    for name, text in marks.items():
        if name != STEP and derived.get(name) != text:
            yield f"the run is found by {name} {text!r}, and its records make it {derived.get(name)!r}"


def _wrong_names(machine: RunMachine, awaited: Sequence[str]) -> Iterator[str]:
    """What the store says of the events that a run waits for otherwise than its records do."""
    names = set(machine.open.awaited)
    if (missing := names - set(awaited)) and "" not in awaited:  # of a run of before there were names it may be any
        yield f"the run waits for event {', '.join(sorted(missing))}, and no worker would find that: start one that takes it up"
    left = set(awaited) - names
    if left if machine.ended else left - {""}:
        told = ", ".join(sorted(left - {""})) or "of any name"
        yield f"event {told} is waited for by the entry of the run, and not by its records"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, RunStatus) else value


async def machine_of(store: Store, key: RunKey) -> RunMachine:
    """The state of a run as its records make it; no guest is needed.

    Raises:
        NotFound, HistoryError: the run cannot be read.
    """
    await row_of(store, key)
    machine = RunMachine(key)

    def take(page: list[Record]) -> None:
        for record in page:
            machine.absorb(record)

    await read_through(store, key, take)
    return machine


def blocked_sentence(problem: Mapping[str, str]) -> str:
    """What keeps a run from going on, and what to do, for people."""
    return f"{sentence_of(problem['message'])} To do: {sentence_of(problem['what_to_do'])}"


def why_not_moving(result: RunResult, machine: RunMachine, now: int) -> str:
    """One sentence for people: what the run waits for, and which command moves it."""
    if result.blocked is not None:
        return f"blocked: {blocked_sentence(result.blocked)}"
    if result.status in FINAL:
        return f"ended: {result.status}"
    if result.status == RunStatus.PAUSED:
        return "paused: it goes one entry at a time; go on with Run.resume(per_step=…)"
    run = machine.key.run
    if result.status == RunStatus.PENDING:
        return (
            f"pending: it begins when runs of tenant {machine.key.tenant} have made room; a worker must be running then"
        )
    if result.status == RunStatus.SUSPENDED:
        said = [f"{one.path}{f' (label {one.labels[0]})' if one.labels else ''}" for one in machine.open.suspensions()]
        named = f" --step {said[0].split(' ')[0]}" if len(said) > 1 else ""
        return f"suspended: {', '.join(said)} waits for data; give it with 'cloche resume {run}{named} --data JSON'"
    if result.waiting_for and waits_for_children(machine):
        return waiting_for(result.waiting_for)
    hooks = [hook.name for hook in machine.open.hooks()]
    due = machine.open.next_due
    if result.status == RunStatus.WAITING and hooks:
        return f"waiting for event {', '.join(hooks)}; send it with 'cloche event {run} {hooks[0]} --data JSON'"
    if result.status == RunStatus.WAITING and due is not None:
        return f"waiting: something is due in {duration(max(0, due - now))}; a worker must be running then"
    running = [name for name, step in result.steps.items() if step.status == RunStatus.RUNNING]
    return f"running: {', '.join(running) or 'not started yet'}; if no process executes it, start 'cloche worker'"


def waiting_for(waits: Sequence[ChildWait]) -> str:
    """Which children are waited for, for people, and the command that gives a suspended one its data."""
    return f"waiting for {told(waits)}{_how_to_resume(waits)}"


def _how_to_resume(waits: Sequence[ChildWait]) -> str:
    """The command that gives the first suspended child its data."""
    for one in waits:
        if one.waiting_for:
            return _how_to_resume(one.waiting_for)
        if one.suspended:
            return f"; give it data with 'cloche resume \"{shown(one.run_id)}\" --data JSON'"
    return ""
