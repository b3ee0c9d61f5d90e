"""The fuzzing slice of the JavaScript guest, for the codec of the Python guest: the corpus, and what chance makes of it.

What the host's one-pass check takes, the guest takes, and gives back as the host itself would write it; what the host refuses,
the guest refuses. The coverage-guided campaign (`make fuzz`) is of the C that both guests share.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from fuzz.campaign import read_corpus
from fuzz.oracles import judge_messages
from guest.cells import GuestStopped
from guest_python.python_cells import ECHO, python_cell
from guest_python.test_cell_values import START, echo

from cloche.errors import MalformedOutput
from cloche.history import values
from cloche.history.check import check

SEED = int(os.environ.get("CLOCHE_SEED", "20261123"))
RUNS = int(os.environ.get("CLOCHE_FUZZ_RUNS", "400"))
MALFORMED = -1
CUTS = (
    b"",
    b"\x00",
    b"\xff",
    b"\x9f",
    b"\xbf",
    b"\x5b" + b"\xff" * 8,
    b"\xc2\x49\x01",
    b"\xfb\x7f\xf8",
    b"\x62\xc3\x28",
)


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to three small changes: a bit, a byte, a piece cut out, doubled, of another input, or known to be troublesome."""
    for _ in range(chance.randint(1, 3)):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        piece = chance.choice((data[at:end] * 2, other[at:end], chance.choice(CUTS), chance.randbytes(1)))
        if data and chance.random() < 0.4:
            place = chance.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
        else:
            data = data[:at] + piece + data[end:]
    return data[:2048]


def judge(data: bytes) -> str:
    """What the guest makes of the value that begins `data`; fails if the host makes something else of it."""
    try:
        size = check(b"\x81" + data) - 1  # a message around it, for its depth
    except MalformedOutput:
        with pytest.raises(GuestStopped) as refused:
            python_cell(ECHO).give(START + data + b"\xa0")
        assert refused.value.code == MALFORMED, data.hex()
        return "refused"
    whole = data[:size]
    try:
        came_back = echo(whole)
    except GuestStopped as stopped:
        raise AssertionError(f"the guest refuses what the host takes: {whole.hex()} ({stopped.code})") from stopped
    assert came_back == values.encode(values.decode(whole)), whole.hex()
    judge_messages(came_back)
    return "came back"


def test_the_corpus_and_a_slice_of_its_neighbours() -> None:
    chance, corpus, seen = random.Random(SEED), read_corpus("values"), Counter[str]()
    for data in corpus:
        seen[judge(data)] += 1
    for _ in range(RUNS):
        seen[judge(mutated(chance.choice(corpus), chance.choice(corpus), chance))] += 1

    print(f"CLOCHE_SEED={SEED}: {dict(seen)}")
    assert min(seen["refused"], seen["came back"]) > (len(corpus) + RUNS) // 10
