"""Runs without a guest: a script says what is asked for at each event, and histories are lived in three ways.

`Answers` is the guest: for the event `"start"`, `"done 1"`, `"failed 1"` or `"fired 2"` the commands it writes. That is all a
guest is to the history: a pure function from events to commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

from cloche.history import Batch, CallId, Failure, Path, Record, RunId, RunKey, RunMachine, Seq, TenantId, TimeMs
from cloche.history.fast_replay import Row, Transcript, follow
from cloche.history.machine import Input
from cloche.history.messages import (
    AbandonCall,
    CallStep,
    CancelRequested,
    Command,
    CompleteRun,
    SetTimer,
    Started,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from cloche.history.notes import AttemptFailed, AttemptStarted, RunCreated
from cloche.history.records import genesis, unpack_record
from cloche.history.values import decode, encode

Answers: TypeAlias = Mapping[str, Sequence[Command]]

KEY = RunKey(TenantId("default"), RunId("r1"))
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SEED = bytes(16)


# ---- inputs and commands --------------------------------------------------------------------------------------------------


def at(ms: int) -> TimeMs:
    return TimeMs(T0 + ms)


def begun(input: Any = None) -> list[Input]:
    """What every run begins with."""
    return [RunCreated(at(0), "w"), Started(at(0), SEED, input, {})]


def attempt(call: int, number: int = 1, ms: int = 0) -> AttemptStarted:
    return AttemptStarted(at(ms), CallId(call), number)


def attempt_failed(call: int, number: int = 1, retry_at: int | None = None, ms: int = 0) -> AttemptFailed:
    due = None if retry_at is None else TimeMs(retry_at)
    return AttemptFailed(at(ms), CallId(call), number, Failure("Error", "no"), due, "")


def done(call: int, value: Any = None, ms: int = 0) -> StepCompleted:
    return StepCompleted(at(ms), CallId(call), value)


def failed(call: int, message: str = "no", ms: int = 0) -> StepFailed:
    return StepFailed(at(ms), CallId(call), Failure("Error", message))


def fired(call: int, ms: int = 0) -> TimerFired:
    return TimerFired(at(ms), CallId(call))


def cancel(ms: int = 0, reason: str = "enough") -> CancelRequested:
    return CancelRequested(at(ms), reason)


def step(call: int, name: str = "add", *arguments: Any, path: str | None = None) -> CallStep:
    return CallStep(CallId(call), Path(path or name), name, list(arguments))


def timer(call: int, due: int, path: str = "nap") -> SetTimer:
    return SetTimer(CallId(call), Path(path), TimeMs(due), None)


def abandon(call: int) -> AbandonCall:
    return AbandonCall(CallId(call))


def result(value: Any = None) -> CompleteRun:
    return CompleteRun(value)


def wire(command: Command) -> bytes:
    """A command as a guest writes it."""
    values = [getattr(command, field.name) for field in fields(command)]
    return encode([command.number, *(one.to_wire() if isinstance(one, Failure) else one for one in values)])


def turn(events: Sequence[bytes], answers: Answers) -> bytes:
    """The guest's side of a turn."""
    return b"".join(written(answers.get(label(event), ())) for event in events)


def written(commands: Sequence[Command]) -> bytes:
    return b"".join(map(wire, commands)) + b"\xf6"


def label(event: bytes) -> str:
    items = decode(event)
    names = {0: "start", 1: "done", 2: "failed", 4: "fired"}
    return names[items[0]] if items[0] == 0 else f"{names[items[0]]} {items[2]}"


# ---- living a history ----------------------------------------------------------------------------------------------------


def advance(machine: RunMachine, inputs: Sequence[Input], answers: Answers | None = None, now: int = 0) -> Batch:
    """One turn."""
    return machine.accept(inputs, turn(machine.deliver(inputs), answers or {}), at(now))


def machine_after(*turns: Sequence[Input], answers: Answers | None = None) -> tuple[RunMachine, list[Record]]:
    """A machine that has lived through `turns`, and its log."""
    machine, log = RunMachine(KEY), []
    for inputs in turns:
        log += advance(machine, inputs, answers).records
    return machine, log


def rebuilt(log: Sequence[Record], key: RunKey = KEY) -> RunMachine:
    """A machine from the bytes of a log, each record verified."""
    machine = RunMachine(key)
    previous = genesis(key)
    for number, record in enumerate(log, 1):
        machine.absorb(unpack_record(record.packed, record.hash, previous=previous, expected=number))  # type: ignore[arg-type]
        previous = record.hash
    return machine


def follow_all(machine: RunMachine, rows: Sequence[Row], read: Callable[[Seq], Record], transcript: Transcript) -> None:
    """`fast_replay.follow`, with what it asks for read at once."""
    asks = follow(machine, rows, transcript)
    wanted = next(asks, None)
    while wanted is not None:
        try:
            wanted = asks.send(read(wanted))
        except StopIteration:
            return


def state_of(machine: RunMachine) -> dict[str, Any]:
    """Everything a machine knows."""
    return {
        "phase": machine.phase,
        "head": (machine.head_seq, machine.head_hash),
        "open": machine.open,
        "wake_at": machine.wake_at,
        "state": machine.state,
        "last_call": machine.open.last_call,
        "pending": machine.pending(),
    }


def lived(inputs: Sequence[Input], answers: Answers) -> list[Record]:
    """The log of a run, lived all at once, one input at a time, and cut and rebuilt after every record: always the same.

    Raises:
        AssertionError: the three ways differ.
    """
    at_once, log = machine_after(inputs, answers=answers)
    one_by_one, log_of_one_by_one = machine_after(*[[one] for one in inputs], answers=answers)
    cut, log_of_cut = _lived_with_cuts(inputs, answers)
    assert log_of_one_by_one == log
    assert log_of_cut == log
    assert state_of(one_by_one) == state_of(at_once)
    assert state_of(cut) == state_of(at_once)
    return log


def _lived_with_cuts(inputs: Sequence[Input], answers: Answers) -> tuple[RunMachine, list[Record]]:
    machine, log = RunMachine(KEY), []
    for one in inputs:
        for record in advance(machine, [one], answers).records:
            log.append(record)
            assert rebuilt(log).head_hash == record.hash  # a log may be read while it grows
        was, machine = machine, rebuilt(log)
        assert state_of(machine) == state_of(was)
    return machine, log


def told(records: Sequence[Record]) -> list[str]:
    """A log for people: `step called 1`, `run completed`."""
    return [
        record.kind.name.lower().replace("_", " ") + (f" {record.call}" if record.call is not None else "")
        for record in records
    ]
