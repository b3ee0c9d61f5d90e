"""Three ways to one state: lived through event by event, from a checkpoint at any position, and replayed at once."""

from __future__ import annotations

from support.histories import follow_all, state_of

from cloche.engines import SandboxEngine
from cloche.history import Kind, RunMachine
from cloche.history.fast_replay import Transcript
from cloche.history.limits import Limits
from cloche.history.notes import unpack_created
from cloche.history.replay import script
from cloche.run.code import guest_of, load_code
from cloche.sandbox import Cell
from cloche.store import RunRow, Store, all_records


async def check_replay_paths(store: Store, row: RunRow) -> int:
    """Take a run's history all three ways, with a checkpoint at every position; how many positions there were.

    Raises:
        AssertionError: two of them end in another memory, another output or another machine.
    """
    records = await all_records(store, row.key)
    part = script(records)
    events = part.events[:-1] if part.faulted else part.events
    code, engine, created = await load_code(store, row.code), SandboxEngine(), unpack_created(records[0])
    limits = Limits.from_data(created.limits)

    guest = await guest_of(store, engine, code)

    def opened() -> Cell:
        cell = engine.open(code, guest, limits, row.key.tenant)
        assert isinstance(cell, Cell)
        return cell

    replayed = opened()
    if events:
        replayed.turn(events)
    live = opened()
    for position, event in enumerate(events, 1):
        live.turn([event])
        _, frozen = live.freeze()()
        thawed = engine.thaw(code, guest, limits, row.key.tenant, frozen)
        assert isinstance(thawed, Cell)
        output = thawed.turn(events[position:]) if events[position:] else b""
        assert output == b"".join(part.expected[position : len(events)])
        assert thawed.state() == replayed.state(), f"a checkpoint after event {position} ends elsewhere"
    assert live.state() == replayed.state()
    if not created.per_step:  # the gate of such a run is not in its records
        await _check_machines(store, row)
        await _check_following(store, row)
    return len(events)


async def _check_following(store: Store, row: RunRow) -> None:
    """From stored bytes to machine and script, whole, in two portions and cut off anywhere: as record by record."""
    records, rows = await all_records(store, row.key), list(await store.rows(row.key))
    growing = RunMachine(row.key)
    for number, record in enumerate(records, 1):
        growing.absorb(record)
        followed, transcript = RunMachine(row.key), Transcript()
        for portion in (rows[: number // 2], rows[number // 2 : number]):
            follow_all(followed, portion, lambda seq: records[seq - 1], transcript)
        assert state_of(followed) == state_of(growing), f"following to record {number} ends elsewhere"
        part = script(records[:number])
        assert transcript.is_upgraded or transcript.events == part.events
        assert transcript.is_upgraded or not part.events or transcript.output() == b"".join(part.expected)


async def _check_machines(store: Store, row: RunRow) -> None:
    records = await all_records(store, row.key)
    whole = RunMachine(row.key)
    for record in records:
        whole.absorb(record)
    growing = RunMachine(row.key)
    for number, record in enumerate(records, 1):
        growing.absorb(record)
        if growing.ended or record.kind is Kind.RUN_CREATED:
            continue
        restored = RunMachine(row.key)
        restored.restore(growing.saved())
        assert state_of(restored) == state_of(growing)
        for later in records[number:]:
            restored.absorb(later)
        assert state_of(restored) == state_of(whole), f"a machine saved at record {number} ends elsewhere"
