"""The fast way through a stored history: from stored bytes to what a guest is fed, and to the machine as it stands at the end.

The stored rows are verified against the chain, and message bodies are handed on unread. A step that was called and
completed within what is followed leaves nothing behind in a machine, so the machine is not shown it: its lifecycle is
checked here, by two dictionaries. Everything else (steps that fail, suspend or are still open, timers, hooks, blocks, state)
the machine absorbs record by record, in order. The tests compare both ways, record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from cbor2 import loads

from cloche.errors import BrokenChain, HistoryError
from cloche.history.ids import CallId, Seq
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import FIVE_ITEMS, RunMachine
from cloche.history.messages import END_OF_EVENT
from cloche.history.records import COMMANDS, EVENTS, HASH_BYTES, INLINE, Kind, Record

Row = tuple[bytes, bytes]  # a record and its hash, as they are stored
_END = bytes([END_OF_EVENT])
_CALLED, _BEGUN, _COMPLETED = int(Kind.STEP_CALLED), int(Kind.ATTEMPT_STARTED), int(Kind.STEP_COMPLETED)
_SHORT = frozenset({_CALLED, _BEGUN, _COMPLETED})


@dataclass(slots=True)
class Heard:
    """What a guest was given, and everything it answered: `events` in order, and the parts of its output.

    `hears` is false behind a cancellation: of what comes then it is told nothing. Where the run `is_upgraded`, that is not all
    of the truth: take `history.replay.script` then.
    """

    events: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    hears: bool = True
    is_upgraded: bool = False

    def output(self) -> bytes:
        """What the guest must answer to all events: the commands of each, closed."""
        return b"".join(self.answers)[len(_END) :] + _END

    def take(self, record: Record) -> None:
        """The next record of the history."""
        self.is_upgraded = self.is_upgraded or record.kind is Kind.RUN_UPGRADED
        if self.hears and record.kind in EVENTS:
            self.answers.append(_END)  # closes the event before this one
            self.events.append(record.body)
        elif self.hears and record.kind in COMMANDS:
            self.answers.append(record.body)
        elif record.kind is Kind.CANCEL_REQUESTED:
            self.hears = False


def follow(machine: RunMachine, rows: Iterable[Row], read: Callable[[Seq], Record], heard: Heard) -> None:
    """Lead `machine` through the rows behind its head, and add what a guest heard and answered in them to `heard`.

    `read` gives one record by its number, verified: those with a body in parts are asked for, and one that is damaged, so that
    the store says what is wrong with it. The loop calls as little as it can: it is the price of a replay, for each record.

    Raises:
        BrokenChain: a row is not what was written.
        HistoryError: records that cannot follow each other.
    """
    passing = _Passing(machine)
    called, begun, events, answers = passing.called, passing.begun, heard.events, heard.answers
    head, seq, size = machine.head_hash, int(machine.head_seq), machine.log_bytes
    empty = blake2b(digest_size=HASH_BYTES).copy
    for row in rows:
        packed, stored = row
        seq += 1
        size += len(packed)
        hashed = empty()
        hashed.update(head + packed)
        if hashed.digest() != stored:
            raise _broken(read, Seq(seq))
        try:
            form, number, kind, time, call, path, body = loads(packed)
            if kind in _SHORT and passing.may and form == INLINE and number == seq:
                if kind == _COMPLETED:
                    if call in begun and body[0] != FIVE_ITEMS:  # changed state goes into the machine
                        del begun[call], called[call]
                        answers.append(_END)
                        events.append(body)
                        head = stored
                        continue
                elif kind == _BEGUN:
                    if call in called:
                        begun[call] = row
                        head = stored
                        continue
                elif call > passing.last_call:
                    called[call] = row
                    passing.last_call = call
                    answers.append(body)
                    head = stored
                    continue
            kind = Kind(kind)
        except Exception as error:  # not one of this version: the store says what it is
            raise _broken(read, Seq(seq)) from error
        is_whole = form == INLINE and number == seq
        record = Record(Seq(seq), kind, time, call, path, body, packed, stored) if is_whole else read(Seq(seq))
        passing.show(record, head, size - len(packed))
        size = machine.log_bytes
        heard.take(record)
        head = stored
    passing.arrive(Seq(seq), head, size)


class _Passing:
    """Steps that were called, and perhaps begun, and that the machine has not been shown: their rows by call."""

    __slots__ = ("_machine", "begun", "called", "last_call", "may")

    def __init__(self, machine: RunMachine) -> None:
        self._machine = machine
        self.called: dict[CallId, Row] = {}
        self.begun: dict[CallId, Row] = {}
        self.last_call = machine.open.last_call  # numbers only grow
        self._look()

    def show(self, record: Record, head: bytes, size: int) -> None:
        """Let the machine absorb a record, and before it what it has not been shown."""
        self.arrive(Seq(record.seq - 1), head, size)
        self._machine.absorb(record)
        self._look()

    def arrive(self, seq: Seq, head: bytes, size: int) -> None:
        """The machine is at `seq`, behind `size` bytes of log: it is shown the steps that are still open."""
        for call, row in self.called.items():
            self._machine.absorb(_record(row))
            if begun := self.begun.get(call):
                self._machine.absorb(_record(begun))
        self.called.clear()
        self.begun.clear()
        self._machine.pass_to(seq, head, CallId(self.last_call), size)

    def _look(self) -> None:
        """Steps may pass only in a run that is under way (so that nothing is unheard), and by no gate: it sees everything."""
        self.may = self._machine.gate is None and self._machine.phase is RunPhase.RUNNING
        self.last_call = max(self.last_call, self._machine.open.last_call)


def _record(row: Row) -> Record:
    packed, stored = row
    _, seq, kind, time, call, path, body = loads(packed)
    return Record(seq, Kind(kind), time, call, path, body, packed, stored)


def _broken(read: Callable[[Seq], Record], seq: Seq) -> HistoryError:
    try:
        read(seq)
    except HistoryError as error:
        return error
    return BrokenChain(f"record {seq} does not stand behind the one before it", seq=seq)
