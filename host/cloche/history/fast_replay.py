"""The fast way through a stored history: from stored bytes to what a guest is fed, and to the machine as it stands at the end.

The stored rows are verified against the chain, and message bodies are handed on unread. A step that was called and
completed within what is followed leaves nothing behind in a machine, so the machine is not shown it: its lifecycle is
checked here, by two dictionaries. Everything else (steps that fail, suspend or are still open, timers, hooks, blocks, state)
the machine absorbs record by record, in order. The tests compare both ways, record by record.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from cbor2 import loads

from cloche.errors import BrokenChain
from cloche.history.ids import CallId, Seq
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import FIVE_ITEMS, RunMachine
from cloche.history.messages import COMMANDS, END_OF_EVENT, EVENTS
from cloche.history.records import HASH_BYTES, INLINE, Kind, Record

Row = tuple[bytes, bytes]  # a record and its hash, as they are stored
_END = bytes([END_OF_EVENT])
_CALLED, _BEGUN, _COMPLETED = int(Kind.STEP_CALLED), int(Kind.ATTEMPT_STARTED), int(Kind.STEP_COMPLETED)
_SHORT = frozenset({_CALLED, _BEGUN, _COMPLETED})


@dataclass(slots=True)
class Transcript:
    """What a guest was given, and everything it answered: `events` in order, and the parts of its output.

    `delivers` is false after a cancellation: the guest is given nothing of what comes then. Where the run `is_upgraded`, its
    code must be given more than this: take `history.replay.script` then.
    """

    events: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    delivers: bool = True
    is_upgraded: bool = False

    def output(self) -> bytes:
        """What the guest must answer to all events: the commands of each, closed."""
        return b"".join(self.answers)[len(_END) :] + _END

    def take(self, record: Record) -> None:
        """The next record of the history."""
        self.is_upgraded = self.is_upgraded or record.kind is Kind.RUN_UPGRADED
        if self.delivers and record.kind in EVENTS:
            self.answers.append(_END)  # closes the event before this one
            self.events.append(record.body)
        elif self.delivers and record.kind in COMMANDS:
            self.answers.append(record.body)
        elif record.kind is Kind.CANCEL_REQUESTED:
            self.delivers = False


def follow(machine: RunMachine, rows: Iterable[Row], transcript: Transcript) -> Generator[Seq, Record, None]:
    """Take `machine` through the rows after its head, and add what a guest was given and answered in them to `transcript`.

    It yields the number of each record that it must be sent verified: with a body in parts, or damaged, so that the store says
    what is wrong. The loop calls as little as it can: it is the price of a replay. Raises HistoryError.
    """
    passing, events, answers = _Passing(machine, transcript), transcript.events, transcript.answers
    called, begun = passing.called, passing.begun
    head, seq, size = machine.head_hash, int(machine.head_seq), machine.log_bytes
    empty = blake2b(digest_size=HASH_BYTES).copy
    for row in rows:
        packed, stored = row
        seq, size = seq + 1, size + len(packed)
        hashed = empty()
        hashed.update(head + packed)
        if hashed.digest() != stored:
            yield from _damaged(Seq(seq))
        before, head = head, stored
        try:
            items = loads(packed)
            form, number, kind, _, call, _, body = items
            if kind in _SHORT and passing.may and form == INLINE and number == seq:
                if kind == _COMPLETED:
                    if call in begun and body[0] != FIVE_ITEMS:  # changed state goes into the machine
                        del begun[call], called[call]
                        answers.append(_END)
                        events.append(body)
                        continue
                elif kind == _BEGUN:
                    if call in called:
                        begun[call] = row
                        continue
                elif call > passing.last_call:
                    called[call] = row
                    passing.last_call = call
                    answers.append(body)
                    continue
            record = _record(row, items)
        except Exception as error:  # not one of this version: the store says what it is
            yield from _damaged(Seq(seq), error)
        if record is None or record.seq != seq:
            record = yield Seq(seq)
        size = passing.show(record, before, size - len(packed))
    passing.arrive(Seq(seq), head, size)


class _Passing:
    """Steps that were called, and perhaps begun, and that the machine has not been shown: their rows by call."""

    __slots__ = ("_machine", "_transcript", "begun", "called", "last_call", "may")

    def __init__(self, machine: RunMachine, transcript: Transcript) -> None:
        self._machine = machine
        self._transcript = transcript
        self.called: dict[CallId, Row] = {}
        self.begun: dict[CallId, Row] = {}
        self.last_call = machine.open.last_call  # numbers only grow
        self._look()

    def show(self, record: Record, head: bytes, size: int) -> int:
        """Let the machine absorb a record, and before it what it has not been shown; the size of the log with it.

        `head` and `size` are the hash and the bytes of the log before it.
        """
        self.arrive(Seq(record.seq - 1), head, size)
        self._machine.absorb(record)
        self._look()
        self._transcript.take(record)
        return self._machine.log_bytes

    def arrive(self, seq: Seq, head: bytes, size: int) -> None:
        """The machine is at `seq`, after `size` bytes of log: it is shown the steps that are still open."""
        for call, row in self.called.items():
            for one in (row, self.begun.get(call)):
                if one is not None and (record := _record(one, loads(one[0]))) is not None:
                    self._machine.absorb(record)
        self.called.clear()
        self.begun.clear()
        self._machine.pass_to(seq, head, CallId(self.last_call), size)

    def _look(self) -> None:
        """Steps may pass only in a run that is under way (so that all is delivered), and has no gate, which sees all."""
        self.may = self._machine.gate is None and self._machine.phase is RunPhase.RUNNING
        self.last_call = max(self.last_call, self._machine.open.last_call)


def _record(row: Row, items: list[Any]) -> Record | None:
    """The record of a verified row, of which `items` are the parts; None if its body is in pieces of its own."""
    packed, stored = row
    form, seq, kind, time, call, path, body = items
    known = Kind(kind)
    return Record(seq, known, time, call, path, body, packed, stored) if form == INLINE else None


def _damaged(seq: Seq, error: Exception | None = None) -> Generator[Seq, Record, None]:
    """Ask for the record, so that the store says what is wrong; if it finds nothing wrong:"""
    yield seq
    raise BrokenChain(f"record {seq} does not follow the one before it", seq=seq) from error
