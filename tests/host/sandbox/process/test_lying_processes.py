"""A process that was taken over answers what it likes. Nothing of it is used, and the process is ended."""

from __future__ import annotations

import signal
import socket
import struct
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import values

from cloche import ProcessEngine
from cloche.engines import Code
from cloche.errors import CellLost, CheckpointRejected, ClocheError, GuestFault, InvalidInput
from cloche.history import TenantId, TimeMs
from cloche.history.messages import Started
from cloche.history.values import encode
from cloche.sandbox import Limits
from cloche.sandbox.process import started
from cloche.sandbox.process.cell import raise_fault
from cloche.sandbox.process.child import Child
from cloche.sandbox.process.wire import Answer, Channel, Ended, Op, ProtocolError, Status, Timeout, request
from cloche.sandbox.saved import read

START = Started(TimeMs(1_700_000_000_000), bytes(16), None, {}).pack()
LIAR = """
import os, socket, struct, sys, threading, time, zlib
light, *heavy = [socket.socket(fileno=int(number)) for number in sys.argv[3:]]
light.sendall(struct.pack("<BIQQI", 0, 1, 0, 0, 9) + bytes([7, 1, *7 * [0]]))
lie = zlib.decompress(bytes.fromhex("%s"))
def serve(channel):
    while True:
        head = channel.recv(21, socket.MSG_WAITALL)
        if not head:
            os._exit(0)
        kind, number, cell, count, size = struct.unpack("<BIQII", head)
        while size:
            size -= len(channel.recv(min(size, 1 << 16)))
        if kind == %d:
            channel.sendall(lie.replace(b"NUMB", struct.pack("<I", number)))
        elif kind != 8:
            channel.sendall(struct.pack("<BIQQI", 0, number, 0, 0, 0))
for channel in heavy:
    threading.Thread(target=serve, args=(channel,), daemon=True).start()
time.sleep(60)
"""
OPEN, TURN, STATE_HASH = 2, 3, 7


def said(status: int, body: bytes = b"", *, fuel: int = 0, size: int | None = None, number: bytes = b"NUMB") -> bytes:
    """An answer. NUMB becomes the number of the question."""
    return bytes([status]) + number + struct.pack("<QQI", fuel, 0, len(body) if size is None else size) + body


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ProcessEngine]]:
    """Engines that are closed at the end."""
    made: list[ProcessEngine] = []
    yield made
    for one in made:
        one.close()


def asked(monkeypatch: pytest.MonkeyPatch, engines: list[ProcessEngine], kind: int, lie: bytes) -> bytes | str:
    """The first turn, or state hash, of a cell in a process that answers every question of that kind with `lie`."""
    monkeypatch.setattr(started, "_BOOT", LIAR % (zlib.compress(lie).hex(), kind))
    engine = ProcessEngine(Limits(wall_ms_per_event=100), patience_s=1.0)
    engines.append(engine)
    code = Code("w", engine.guest()[0], "export default async () => 1", {}, "")
    cell = engine.open(code, lambda: b"", engine.limits(), TenantId("mallory"))
    answer = cell.turn([START]) if kind != STATE_HASH else cell.state_hash()
    assert engine.processes()
    return answer


def test_what_an_honest_answer_looks_like(lying: list[ProcessEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, lying, TURN, said(0, b"\xf6", fuel=5)) == b"\xf6"
    assert asked(monkeypatch, lying, STATE_HASH, said(0, b"0" * 64)) == "0" * 64


@pytest.mark.parametrize(
    ("kind", "lie"),
    [
        (TURN, said(0, b"\xf6", size=0xFFFFFFFF)),  # more than there may be: no memory is taken for it
        (TURN, said(0, b"\xf6", size=5)),  # more than comes
        (TURN, said(0, b"\xf6") + b"more"),
        (TURN, said(0, b"\xf6", number=b"\xff\xff\xff\xff")),  # the answer to another question
        (TURN, said(9, b"\xf6")),
        (TURN, said(0, b"\xf6", fuel=1 << 63)),  # more than it was given
        (TURN, said(1)),  # "it was not light", of a turn that need not be
        (TURN, b"\x00"),  # hangs in the middle
        (TURN, said(2, b"\xff\xff")),
        (TURN, said(2, b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff")),
        (TURN, said(2, encode(["cell-gone", "try again, for ever", {}]))),
        (TURN, said(2, encode(["store", "the host's own errors", {}]))),
        (TURN, said(2, encode(["fuel-exhausted", "m", {"tenant": "bob"}]))),
        (TURN, said(2, encode(["fuel-exhausted", 5, {}]))),
        (TURN, said(2, encode(["fuel-exhausted", "m" * 100_000, {}]))),
        (TURN, said(3, b"\xff" * 1000)),
        (OPEN, said(0, b"nobody asked for this" * 5000)),
        (OPEN, said(1)),
        (STATE_HASH, said(0, b"Z" * 64)),
        (STATE_HASH, said(0, b"0" * 63)),
    ],
)
def test_a_process_that_lies_is_ended_and_its_answer_not_used(
    kind: int, lie: bytes, lying: list[ProcessEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CellLost) as lost:
        asked(monkeypatch, lying, kind, lie)
    assert lost.value.code == "cell-lost"
    assert lying[0].processes() == {}


FAULTY = """
import ctypes, json, os, resource, socket, struct, sys
sys.path[:] = json.loads(sys.argv[1])
from cloche.sandbox.process import lockdown
lockdown.heed_signals()
light, heavy, *_ = [socket.socket(fileno=int(number)) for number in sys.argv[3:]]
light.sendall(struct.pack("<BIQQI", 0, 1, 0, 0, 9) + bytes([7, 1, *7 * [0]]))
heavy.recv(1)
%s
"""
FAULTS = {
    signal.SIGSEGV: "ctypes.string_at(0)",
    signal.SIGABRT: "os.abort()",
    signal.SIGXCPU: "resource.setrlimit(resource.RLIMIT_CPU, (1, 60))\nwhile True: pass",
}


@pytest.mark.parametrize(("number", "fault"), FAULTS.items(), ids=[number.name for number in FAULTS])
def test_a_fault_of_its_own_ends_a_process(number: int, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the first of a namespace, which the kernel spares most signals."""
    monkeypatch.setattr(started, "_BOOT", FAULTY % fault)
    child = Child(patience_s=30.0)
    with pytest.raises(CellLost, match=f"by signal {int(number)}"):
        child.ask(Op.STATE_HASH, 1, b"", 0, wait_s=0, bytes_max=64)


def test_a_fault_may_only_say_what_faults_say(lying: list[ProcessEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClocheError, match="it ran") as stopped:
        asked(monkeypatch, lying, TURN, said(2, encode(["time-exhausted", "it ran", {"limit": "fuel", "value": 1}])))
    assert stopped.value.code == "time-exhausted"
    assert lying[0].processes()


def test_a_frozen_cell_that_reaches_beyond_its_state_is_refused() -> None:
    """It would be written into the memory of whoever thaws it."""
    digest = "0" * 64
    good = [1, digest, 1 << 20, 5, [[0, 4096]], b"x"]
    assert read(digest, encode(good), 1 << 20).places == [[0, 4096]]
    for at, value in [(2, -1), (2, 1 << 40), (2, True), (3, "5"), (4, [[1 << 20, 4096]]), (4, [[-4096, 4096]]),
                      (4, [[0, -1]]), (4, [[0]]), (4, [5]), (4, {}), (4, [[0, 1 << 40]]), (5, "text"), (1, "1" * 64),
                      (0, 2)]:  # fmt: skip
        with pytest.raises(CheckpointRejected):
            read(digest, encode([*good[:at], value, *good[at + 1 :]]), 1 << 20)
    with pytest.raises(CheckpointRejected):
        read(digest, encode(good[:5]), 1 << 20)


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_whatever_bytes_come_back_they_are_an_answer_or_one_of_three_ends(head: bytes, tail: bytes, fits: bool) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    asked = request(Op.TURN, channel.number(), 1, b"event", 1)
    said = struct.pack("<BIQQI", 0, 1, 0, 0, len(tail)) + tail if fits else head + tail
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    try:
        answer = channel.ask(asked, 1.0, 100)
    except (Ended, ProtocolError, Timeout):
        assert not fits or len(tail) > 100
    else:
        assert len(answer.body) <= 100
        assert said.endswith(answer.body)
    finally:
        channel.close()
        theirs.close()


CODES = st.sampled_from(["fuel-exhausted", "load-failed", "limit-exceeded", "cell-gone", "store", ""])
FACTS = st.dictionaries(st.sampled_from(["failure", "limit", "value", "tenant"]), values(5), max_size=3)


@given(st.binary(max_size=200) | values().map(encode) | st.tuples(CODES, st.text(), FACTS).map(list).map(encode))
def test_whatever_is_told_of_a_fault_becomes_an_error_of_a_guest(told: bytes) -> None:
    ended: list[bool] = []
    child = SimpleNamespace(end=lambda: ended.append(True))
    with pytest.raises((GuestFault, InvalidInput)) as stopped:
        raise_fault(Answer(Status.FAULT, 0, 0, told), cast(Child, child))
    assert bool(ended) == isinstance(stopped.value, CellLost)
