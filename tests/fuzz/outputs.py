"""Outputs of a guest that lies, and what the host makes of them: the third target, of Python alone.

Inputs are made here, not in C: a seeded mutator that knows commands and bytes, led by the ways through everything that
reads an output. An input is the outputs of a turn, `f6` behind each: the first answers `started`, the next the ends of what is
open then, in the order of the calls.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from fuzz.campaign import Report
from fuzz.oracles import Finding, Ways

from cloche.cli.output import as_json, record_data, record_line
from cloche.errors import GuestFault
from cloche.history import (
    CallId,
    RunId,
    RunKey,
    RunMachine,
    TenantId,
    TimeMs,
    bounds,
    calls,
    machine,
    validate_import,
)
from cloche.history.check import check
from cloche.history.failures import Failure
from cloche.history.lifecycles import ChildPhase, HookPhase, TimerPhase
from cloche.history.machine import Input
from cloche.history.messages import END_OF_EVENT, ChildEnded, HookReceived, Started, StepCompleted, TimerFired
from cloche.history.notes import AttemptStarted, RunCreated
from cloche.history.values import decode, encode_plain

KEY: Final = RunKey(TenantId("t"), RunId("r"))
NOW: Final = TimeMs(1_700_000_000_000)
INPUT_MAX: Final = 4096
FAILURE: Final = {"name": "E", "message": "m", "cause": {"name": "C", "message": "c"}}
VALUES: Final[list[Any]] = [
    None, 0, 1, -1, 23, 24, 255, 1 << 63, (1 << 64) - 1, 1 << 70, -(1 << 70), 1.5, "", "a", "a/b[3]", "x\x1b[2J", "\u202e",
    "é" * 9, b"\x00", [], [1], {}, {"a": 1}, {"name": "E"}, FAILURE, [0, 1], [1, FAILURE], "a/" * 200, True,
]  # fmt: skip
BYTES: Final = [
    b"\xf6",
    b"\x9b\xff",
    b"\x5f",
    b"\xd8\x1c",
    b"\xc0\x74",
    b"\x9f",
    b"\xff",
    b"\xfb",
    b"\xf9\x7e\x00",
    b"\xa1\x61a",
    b"\xc2\x49",
]


def seeds() -> list[bytes]:
    """Each command, alone and among others, and a run with several turns."""
    asked: list[list[Any]] = [
        [0, 1, "s", "step", [1]],
        [1, 2, "t", NOW + 5, "v"],
        [2, 3, "h", "hook", {}],
        [4, 2, "line"],
        [5, "W", {"a": 1}],
        [0, 4, "W/s[2]", "step", []],
        [6, "W", [0, 1]],
        [9, 1],
        [11, "patch"],
    ]
    ends: list[list[Any]] = [
        [7, {"r": 1}],
        [8, FAILURE],
        [6, "W", [1, FAILURE]],
        [3, 5, "c", "child", 1],
        [10, 6, "o", "op", [1]],
    ]
    packed = [encode_plain(command) for command in (*asked, *ends)]
    mark = bytes([END_OF_EVENT])
    whole = b"".join(packed[: len(asked)]) + mark
    return [
        b"",
        mark,
        *(one + mark for one in packed),
        whole,
        whole + mark + packed[len(asked)] + mark,
        whole + mark * 4,
    ]


def campaign(first: Iterable[bytes], *, seed: int, runs: int, seconds: float = 0.0) -> Report:
    """As `fuzz.campaign.campaign`: tries `first`, then up to `runs` inputs made from what took a new way (0 seconds: no limit).

    Raises:
        Finding: with the input, in hex.
    """
    chance, ways, report = random.Random(seed), Ways(machine, calls, bounds, validate_import), Report("outputs")
    begun = time.monotonic()

    def tries(data: bytes) -> None:
        report.runs += 1
        if ways.took_a_new_one(judge, data):
            report.kept.append(data)

    for data in first:
        tries(data)
    kept = report.kept or [b""]
    while report.runs < runs and not (seconds and time.monotonic() - begun > seconds):
        tries(_mutated(chance, kept))
    report.seconds, report.ways = time.monotonic() - begun, len(ways.seen)
    return report


def minimised(inputs: Iterable[bytes]) -> Report:
    """The smallest first; each is kept if it takes a way that none before it took."""
    return campaign(sorted(set(inputs), key=lambda data: (len(data), data)), seed=0, runs=0)


# ---- judgement ---------------------------------------------------------------------------------------------------------


def judge(data: bytes) -> None:
    """The host takes `data` as outputs of a guest, turn after turn, or refuses it by name.

    Raises:
        Finding: it broke, or what it would store is not what it can read, show and go on from.
    """
    run = RunMachine(KEY)
    inputs: list[Input] = [
        RunCreated(NOW, "w"),
        Started(NOW, bytes(16), None, {"state": {}, "context": {}}),
    ]
    records = []
    try:
        for output in _outputs(data):
            batch = run.accept(inputs, output, NOW)
            records += batch.records
            run.committed(batch)
            inputs = _ends(run)
            if not inputs or run.ended:
                break
    except GuestFault:
        pass
    except Exception as error:
        raise Finding(f"{data.hex()}\nthe host broke: {error!r}") from error
    _judge_records(data, records)


def _judge_records(data: bytes, records: Sequence[Any]) -> None:
    """A second machine follows the records to the same state, importing them would do, and a terminal is safe from them."""
    again = RunMachine(KEY)
    try:
        for record in records:
            again.absorb(record)
            validate_import.vet(record)
        restored = RunMachine(KEY)
        restored.restore(again.saved())
        lines = [
            line for record in records for line in (record_line(record, color=False), as_json(record_data(record)))
        ]
    except Exception as error:
        raise Finding(f"{data.hex()}\nwhat was accepted cannot be used: {error!r}") from error
    if restored.saved() != again.saved() or restored.pending() != again.pending():
        raise Finding(f"{data.hex()}\na machine that was saved is another one")
    if not all(map(str.isprintable, lines)):
        raise Finding(f"{data.hex()}\na terminal would obey: {lines}")


def _outputs(data: bytes) -> list[bytes]:
    """Cut behind each mark that stands between commands; what cannot be read is the last."""
    found, begin, at = [], 0, 0
    while at < len(data):
        if data[at] == END_OF_EVENT:
            at += 1
            found.append(data[begin:at])
            begin = at
            continue
        try:
            at = check(data, at)
        except GuestFault:
            break
    return [*found, data[begin:]] if begin < len(data) or not found else found


def _ends(run: RunMachine) -> list[Input]:
    """An end for the first call that is open, one a turn."""
    for call, found in sorted(run.open.items()):
        if isinstance(found.phase, TimerPhase):
            return [TimerFired(NOW, CallId(call))]
        if isinstance(found.phase, HookPhase):
            return [HookReceived(NOW, CallId(call), 1)]
        if isinstance(found.phase, ChildPhase):
            return [ChildEnded.failed(NOW, CallId(call), Failure("E", "m"))]
        begun = AttemptStarted(NOW, CallId(call), 1)
        return [begun, StepCompleted(NOW, CallId(call), {"v": 1})]
    return []


# ---- inputs ------------------------------------------------------------------------------------------------------------


def _mutated(chance: random.Random, kept: Sequence[bytes]) -> bytes:
    data = chance.choice(kept)
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = chance.choice(MUTATIONS)(chance, data, kept)
    return data[:INPUT_MAX]


def _bit(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]


def _cut(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 2, 4, 16)) :]


def _put(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice((*BYTES, chance.randbytes(1), chance.randbytes(3))) + data[at:]


def _splice(chance: random.Random, data: bytes, kept: Sequence[bytes]) -> bytes:
    other = chance.choice(kept)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _repeat(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[begin:end] + data[end:]


def _field(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """One field of one command is another value, a number of a command near it, or gone."""
    try:
        commands = [decode(data[begin:end]) for begin, end in _spans(data)]
    except (GuestFault, ValueError):
        return data
    lists = [command for command in commands if isinstance(command, list) and command]
    if lists:
        chosen = chance.choice(lists)
        at = chance.randrange(len(chosen))
        match chance.randrange(4):
            case 0 if isinstance(chosen[at], int):
                chosen[at] += chance.choice((-1, 1, 2))
            case 1:
                del chosen[at]
            case 2:
                chosen.append(chance.choice(VALUES))
            case _:
                chosen[at] = chance.choice(VALUES)
    return b"".join(map(encode_plain, commands))


def _order(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    try:
        parts = [data[begin:end] for begin, end in _spans(data)]
    except GuestFault:
        return data
    chance.shuffle(parts)
    return b"".join(parts)


def _spans(data: bytes) -> list[tuple[int, int]]:
    spans, at = [], 0
    while at < len(data):
        end = check(data, at)
        spans.append((at, end))
        at = end
    return spans


MUTATIONS: Final[list[Callable[[random.Random, bytes, Sequence[bytes]], bytes]]] = [
    _bit, _cut, _put, _splice, _repeat, _field, _field, _field, _order,
]  # fmt: skip
