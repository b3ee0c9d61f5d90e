"""The fast way through stored rows. Every case of `tests/cases` shows as well where it ends (`support.replay_paths`)."""

from __future__ import annotations

import pytest
from support.histories import (
    KEY,
    Answers,
    attempt,
    begun,
    cancel,
    done,
    follow_all,
    machine_after,
    result,
    state_of,
    step,
)

from cloche.errors import BrokenChain, HistoryError
from cloche.history import Record, RunMachine, Seq
from cloche.history.fast_replay import Row, Transcript
from cloche.history.machine import Input
from cloche.history.records import chained
from cloche.history.values import decode, encode_plain

ANSWERS: Answers = {
    "start": [step(1, "a", 1), step(2, "b", 1)],
    "done 1": [step(3, "c", 1)],
    "done 2": [],
    "done 3": [result(7)],
}
TURNS = (begun(), [attempt(1), attempt(2), done(1)], [done(2)], [attempt(3), done(3)])


def log(*turns: list[Input]) -> list[Record]:
    return machine_after(*(turns or TURNS), answers=ANSWERS)[1]


def rows_of(records: list[Record]) -> list[Row]:
    return [(record.packed, record.hash) for record in records]


def followed(rows: list[Row], records: list[Record]) -> tuple[RunMachine, Transcript]:
    machine, transcript = RunMachine(KEY), Transcript()
    follow_all(machine, rows, lambda seq: records[seq - 1], transcript)
    return machine, transcript


@pytest.mark.parametrize("number", range(1, len(log()) + 1))
def test_it_ends_where_absorbing_record_by_record_ends(number: int) -> None:
    records = log()[:number]
    machine = RunMachine(KEY)
    for record in records:
        machine.absorb(record)
    assert state_of(followed(rows_of(records), records)[0]) == state_of(machine)


def test_steps_that_are_done_are_not_shown_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    absorb = RunMachine.absorb

    def watched(machine: RunMachine, record: Record) -> None:
        shown.append(record.seq)
        absorb(machine, record)

    records = log()
    monkeypatch.setattr(RunMachine, "absorb", watched)
    followed(rows_of(records), records)
    assert [records[seq - 1].kind.name for seq in shown] == ["RUN_CREATED", "RUN_STARTED", "RUN_COMPLETED"]


def test_nothing_behind_a_cancellation_is_transcript() -> None:
    records = log(TURNS[0], [attempt(1), attempt(2), cancel(), done(1)])
    _, transcript = followed(rows_of(records), records)
    assert [decode(event)[0] for event in transcript.events] == [0]


@pytest.mark.parametrize("number", range(1, len(log()) + 1))
@pytest.mark.parametrize("what", ["record", "hash", "missing", "twice"])
def test_a_row_that_is_not_what_was_written_is_found(number: int, what: str) -> None:
    records = log()
    rows = rows_of(records)
    packed, stored = rows[number - 1]
    if what == "record":
        rows[number - 1] = (packed[:-1] + bytes([packed[-1] ^ 1]), stored)
    elif what == "hash":
        rows[number - 1] = (packed, stored[:-1] + bytes([stored[-1] ^ 1]))
    elif what == "missing" and number < len(rows):
        del rows[number - 1]
    else:
        rows.insert(number, rows[number - 1])
    with pytest.raises(BrokenChain, match=r"record \d+ does not follow"):
        follow_all(
            RunMachine(KEY), rows, lambda seq: records[0], Transcript()
        )  # the store finds nothing wrong with the record


def test_the_store_says_what_is_wrong_with_a_record() -> None:
    def read(seq: Seq) -> Record:
        raise BrokenChain(f"run r, record {seq}: a bit is another one", seq=seq)

    records = log()
    rows = [(records[0].packed, bytes(32))]
    with pytest.raises(BrokenChain, match="run r, record 1: a bit is another one"):
        follow_all(RunMachine(KEY), rows, read, Transcript())


@pytest.mark.parametrize(
    "content", [[9, 1, "x"], [3, 1, 2, 0, None, None, b""], "text", [1, 1, 99, 0, None, None, b""]]
)
def test_bytes_that_fit_the_chain_and_are_no_record_of_this_version_are_refused(content: object) -> None:
    packed = encode_plain(content)

    def read(seq: Seq) -> Record:
        raise HistoryError(f"record {seq} is of another version")

    with pytest.raises(HistoryError, match="record 1 is of another version"):
        follow_all(RunMachine(KEY), [(packed, chained(RunMachine(KEY).head_hash, packed))], read, Transcript())


def test_what_cannot_follow_is_refused() -> None:
    machine, records = RunMachine(KEY), log()
    machine.absorb(records[0])
    again = records[1:2]
    follow_all(machine, rows_of(again), lambda seq: records[seq - 1], Transcript())
    packed = encode_plain([1, 3, int(records[1].kind), 0, None, None, records[1].body])
    with pytest.raises(HistoryError, match="cannot follow"):
        follow_all(machine, [(packed, chained(machine.head_hash, packed))], lambda seq: records[seq - 1], Transcript())
