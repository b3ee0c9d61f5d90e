"""Records and the chain that binds them."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import KEY, Answers, at, attempt, begun, done, machine_after, rebuilt, result, step

from cloche.errors import BrokenChain, HistoryError
from cloche.history import DEFAULT_TENANT, CallId, Kind, Path, Record, RunId, RunKey, Seq, TenantId
from cloche.history.ids import ID_BYTES_MAX, is_valid_id
from cloche.history.messages import COMMANDS, EVENTS
from cloche.history.records import ENDS, genesis, make_record, unpack_record
from cloche.history.values import encode_plain

ZERO = bytes(32)


def a_log() -> list[Record]:
    answers: Answers = {"start": [step(1, "add", 1)], "done 1": [result(2)]}
    return machine_after(begun(), [attempt(1), done(1, 2)], answers=answers)[1]


def bound(previous: bytes, packed: bytes) -> bytes:
    return blake2b(previous + packed, digest_size=32).digest()


@given(
    st.integers(1, 2**40),
    st.sampled_from(Kind),
    st.integers(0, 2**45),
    st.none() | st.integers(1, 2**40).map(CallId),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])).map(Path),
    st.binary(),
)
def test_a_record_comes_back_as_it_was_made(
    seq: Seq, kind: Kind, time: int, call: CallId | None, path: Path | None, body: bytes
) -> None:
    record = make_record(ZERO, seq, kind, at(time), call, path, body)
    assert unpack_record(record.packed, record.hash, previous=ZERO, expected=seq) == record


def test_the_bytes_of_a_record_and_its_hash_are_what_the_format_says() -> None:
    record = make_record(ZERO, Seq(3), Kind.STEP_CALLED, at(0), CallId(1), Path("add"), b"\x01")
    assert record.packed == encode_plain([1, 3, 3, at(0), 1, "add", b"\x01"])
    assert record.hash == bound(ZERO, record.packed)


def test_the_numbers_of_the_kinds_are_stored_and_never_change() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "RUN_CREATED": 1,
        "RUN_STARTED": 2,
        "STEP_CALLED": 3,
        "ATTEMPT_STARTED": 4,
        "ATTEMPT_FAILED": 5,
        "STEP_COMPLETED": 6,
        "STEP_FAILED": 7,
        "TIMER_SET": 8,
        "TIMER_FIRED": 9,
        "ENTERED": 10,
        "LEFT": 11,
        "LOG_LINE": 12,
        "CALL_ABANDONED": 13,
        "CANCEL_REQUESTED": 14,
        "RUN_COMPLETED": 15,
        "RUN_FAILED": 16,
        "RUN_CANCELED": 17,
        "RUN_STOPPED": 18,
        "STEP_SUSPENDED": 19,
        "STEP_RESUMED": 20,
        "STEP_BAILED": 21,
        "HOOK_OPENED": 22,
        "HOOK_RECEIVED": 23,
        "RUN_PAUSED": 24,
        "RUN_CONTINUED": 25,
        "LATE_RESULT": 26,
        "STEP_WROTE": 27,
        "RUN_UPGRADED": 28,
        "PATCHED": 29,
        "CHILD_STARTED": 30,
        "CHILD_ENDED": 31,
        "CANCEL_DELIVERED": 32,
        "RUN_CANCELED_BY_CODE": 33,
        "TAGS_SET": 34,
        "HOOK_FAILED": 35,
        "TAGGED": 36,
        "DEADLINE_SET": 37,
        "RUN_CONTINUED_AS_NEW": 38,
        "PERMIT_ASKED": 42,
        "STEP_LOGGED": 46,
        "ATTEMPT_QUEUED": 47,
        "ATTEMPT_SENT": 49,
    }


def test_a_kind_is_an_event_a_command_or_a_note_of_the_host() -> None:
    assert set() == EVENTS & COMMANDS
    notes = {Kind.RUN_CREATED, Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED, Kind.RUN_CANCELED, Kind.RUN_STOPPED}
    notes |= {Kind.RUN_PAUSED, Kind.RUN_CONTINUED, Kind.LATE_RESULT, Kind.STEP_WROTE, Kind.TAGS_SET}
    notes |= {Kind.STEP_LOGGED, Kind.ATTEMPT_QUEUED}
    notes |= {Kind.ATTEMPT_SENT, Kind.PERMIT_ASKED}
    assert set(Kind) - EVENTS - COMMANDS == {*notes, Kind.CANCEL_REQUESTED}
    assert COMMANDS | notes >= ENDS


@pytest.mark.parametrize(
    "other",
    [
        RunKey(DEFAULT_TENANT, RunId("r2")),
        RunKey(TenantId("other"), RunId("r1")),
        RunKey(TenantId("defaultr"), RunId("1")),
        RunKey(TenantId("r1"), RunId("default")),
    ],
    ids=repr,
)
def test_a_log_moved_to_another_run_or_tenant_is_seen_at_its_first_record(other: RunKey) -> None:
    with pytest.raises(BrokenChain) as raised:
        rebuilt(a_log(), other)
    assert (raised.value.message, raised.value.seq) == (
        "record 1 is not the one that was written: its hash does not match",
        1,
    )


@pytest.mark.parametrize("damage", ["swapped", "left out", "twice", "first left out"])
def test_a_record_moved_within_its_run_is_seen(damage: str) -> None:
    log = a_log()
    broken = {
        "swapped": [log[0], log[2], log[1], *log[3:]],
        "left out": [log[0], *log[2:]],
        "twice": [log[0], log[0], *log[1:]],
        "first left out": log[1:],
    }[damage]
    with pytest.raises(BrokenChain):
        rebuilt(broken)


def test_a_record_with_a_fitting_hash_and_another_number_is_seen() -> None:
    record = make_record(genesis(KEY), Seq(2), Kind.RUN_CREATED, at(0), None, None, b"")
    with pytest.raises(BrokenChain, match="record 2 stands where record 1 should"):
        unpack_record(record.packed, record.hash, previous=genesis(KEY), expected=Seq(1))


@given(st.data())
def test_any_changed_byte_of_a_log_is_seen_at_its_record(data: st.DataObject) -> None:
    log = a_log()
    number = data.draw(st.integers(0, len(log) - 1))
    whole = bytearray(log[number].packed + log[number].hash)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    previous = log[number - 1].hash if number else genesis(KEY)
    with pytest.raises(BrokenChain) as raised:
        unpack_record(bytes(whole[:-32]), bytes(whole[-32:]), previous=previous, expected=Seq(number + 1))
    assert raised.value.seq == number + 1


def test_a_record_of_a_newer_format_asks_for_a_newer_cloche() -> None:
    packed = encode_plain([3, {"of": "another shape"}])
    with pytest.raises(HistoryError) as raised:
        unpack_record(packed, bound(ZERO, packed), previous=ZERO, expected=Seq(1))
    assert raised.value.message == "record 1 has form 3, and this cloche reads 1 and 2: use a newer version"


@pytest.mark.parametrize(
    "packed", [b"", b"\xff", b"\x00", b"\x80", b"\x87\x01", encode_plain([1, 1, 99, 0, None, None, b""])]
)
def test_bytes_that_match_their_hash_and_are_no_record_are_a_broken_chain(packed: bytes) -> None:
    with pytest.raises(BrokenChain, match="record 1 cannot be read: "):
        unpack_record(packed, bound(ZERO, packed), previous=ZERO, expected=Seq(1))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("r_7QK", True),
        ("größe 1", True),
        ("x" * ID_BYTES_MAX, True),
        ("ö" * (ID_BYTES_MAX // 2 + 1), False),
        ("", False),
        (" r", False),
        ("r\n", False),
        ("a\x1b[31m", False),
        ("a\x85b", False),
        ("\ud800", False),
    ],
)
def test_ids_are_short_text_that_can_be_printed(text: str, valid: bool) -> None:
    assert is_valid_id(text) is valid
