"""Histories of any workflow: whatever it asks for is answered, in an order and with answers that a `Random` chooses."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from guest.cells import CHILD, COMPLETE, FAIL, HOOK, NOW, SEED, STEP, TIMER, Cell, pack, sequence

FAILURE = {"name": "Refused", "message": "no", "data": {"n": 1}, "cause": {"name": "Error", "message": "deeper"}}
ANSWERS = (None, True, 0, 7, -1.5, 2**70, "é", b"\0", [1, [2]], {"value": 3, "ok": True, "n": 2, "__proto__": "own"})


def live(source: str, given_input: Any, random: Random, events_max: int = 60) -> list[bytes]:
    """The events of one run: to its end, to where nothing is open any more, or to `events_max`."""
    cell, open_calls, ended = Cell(source), {}, False
    events = [pack([0, NOW, SEED, given_input, {"context": {"who": "Ada"}, "state": {"count": 0}}])]
    while True:
        for command in sequence(cell.give(events[-1])):
            if command is not None and command[0] in (STEP, TIMER, HOOK, CHILD):
                open_calls[command[1]] = command[0]
            ended = ended or (command is not None and command[0] in (COMPLETE, FAIL))
        if ended or not open_calls or len(events) == events_max:
            return events
        events.append(pack(_answer(open_calls, NOW + len(events), random)))


def _answer(open_calls: dict[int, int], now: int, random: Random) -> list[Any]:
    call = random.choice(sorted(open_calls))
    kind, value, well = open_calls[call], random.choice(ANSWERS), random.random() < 0.8
    if kind == STEP and random.random() < 0.15:  # these settle nothing
        return random.choice(
            [[3, now, call, {"path": "s", "payload": value}], [9, now, call, {"path": "s", "data": value}]]
        )
    del open_calls[call]
    match kind:
        case 0:
            state = [{"count": now}] if random.random() < 0.3 else []
            return [1, now, call, value, *state] if well else [2, now, call, FAILURE]
        case 1:
            return [4, now, call]
        case 2:
            return [5, now, call, value]
    return [6 if kind == CHILD else 8, now, call, [0, value] if well else [1, FAILURE]]


def cuts(events: list[bytes], sizes: list[int]) -> Iterator[list[bytes]]:
    """`events` in batches of these sizes, the last one again and again."""
    at = 0
    for size in sizes:
        yield events[at : at + size]
        at += size
    while at < len(events):
        yield events[at : at + sizes[-1]]
        at += sizes[-1]
