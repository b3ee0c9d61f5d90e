"""Large messages are looked at by compiled code: it accepts what `check` accepts, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloche.errors import GuestUnavailable, LimitExceeded, MalformedOutput
from cloche.history.check import check
from cloche.history.output import split_output
from cloche.history.values import encode
from cloche.sandbox.validator import Checker, checker
from cloche.sandbox.validator import walk as walk_or_not
from cloche.tenancy import Policy

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
TIMES = [
    "2026-11-23T07:46:12Z", "2024-02-29T23:59:59.123456789+23:59", "2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00-00:00", "9999-12-31T23:59:59.9Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
    "2026-01-32T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z",
    "2026-01-01T23:00:60Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00z", "2026-01-01t00:00:00Z",
    "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Z ", "2026-01-01 00:00:00Z", "",
    "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2026-W01-1T00:00:00Z", "2026-01-01T00:00:00,5Z",
]  # fmt: skip


walk = Checker().walk


def by_python(data: bytes) -> list[tuple[int, int, int]] | None:
    """What `walk` is to say."""
    at, found = 0, []
    try:
        while at < len(data):
            end = check(data, at)
            found.append((end, *weighed(data, at)))
            at = end
    except MalformedOutput:
        return None
    return found


def weighed(data: bytes, at: int) -> tuple[int, int]:
    """Items in it and depth below it, found by asking for less and less."""
    items, depth = 0, 0
    while (asked := over(data, at, value_items=items)) is not None:
        items = asked
    while (asked := over(data, at, value_depth=depth)) is not None:
        depth = asked
    return items, depth


WIDE = replace(Policy().bounds, value_depth=1 << 60, value_items=1 << 60, payload_bytes=1 << 60)


def over(data: bytes, at: int, **bound: int) -> int | None:
    try:
        check(data, at, replace(WIDE, **bound))  # type: ignore[arg-type]
    except LimitExceeded as error:
        return int(error.facts["asked"])
    return None


def by_walk(data: bytes) -> list[tuple[int, int, int]] | None:
    found = walk(data)
    return None if found is None else list(found)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30) | st.binary(max_size=30)
    | st.datetimes(timezones=st.timezones()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A sequence in the grammar with a few bytes of it changed, left out or put in."""
    data = bytearray(b"".join(encode(one) for one in draw(st.lists(plain, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


@settings(max_examples=600)
@given(nearly())
@example(b"")
@example(b"\x18")
@example(b"\xf9\x7e\x00\xf9\x7e\x01")
def test_it_accepts_what_python_accepts_and_weighs_it_alike(data: bytes) -> None:
    assert by_walk(data) == by_python(data)


@settings(max_examples=600)
@given(st.binary(max_size=40))
def test_it_refuses_what_python_refuses(data: bytes) -> None:
    assert by_walk(data) == by_python(data)


@pytest.mark.parametrize("text", TIMES)
def test_timestamps(text: str) -> None:
    data = (
        bytes([0xC0, 0x78, len(text)]) + text.encode()
        if len(text) > 23
        else bytes([0xC0, 0x60 + len(text)]) + text.encode()
    )
    assert by_walk(data) == by_python(data)


def test_every_first_byte_before_every_second() -> None:
    for first in range(256):
        for second in range(256):
            for rest in (b"", bytes(9), b"\xff" * 9):
                data = bytes([first, second]) + rest
                assert (walk(data) is None) == (by_python(data) is None), data.hex()


def test_the_inputs_that_fuzzing_kept() -> None:
    for file in sorted(CORPUS.rglob("*")):
        if file.is_file():
            for data in pieces(file.read_bytes()):
                assert by_walk(data) == by_python(data), file


def pieces(data: bytes) -> Iterator[bytes]:
    yield data[: 1 << 14]
    yield data[1:200]


@pytest.mark.parametrize("levels", [64, 65, 66, 5000])
def test_depth(levels: int) -> None:
    data = b"\x81" * levels + b"\xf6"
    assert by_walk(data) == by_python(data)


def test_more_than_fits_is_left_to_python() -> None:
    assert walk(bytes((8 << 20) + 1)) is None
    assert walk(bytes(1 << 20)) is None  # what would be said of that many items does not fit
    assert walk(encode(bytes((8 << 20) - 5))) is not None


LARGE: list[Any] = [{"sku": f"sku-{i}", "count": i, "price": i * 1.5} for i in range(2_000)]


def test_the_first_large_message_waits_for_nothing_and_later_ones_find_it() -> None:
    checker.cache_clear()
    data = encode(LARGE)
    first = walk_or_not(data)
    assert first is None or list(first) == by_walk(data)
    checker().result(60)
    assert list(walk_or_not(data) or ()) == by_walk(data)


def test_without_the_guest_python_looks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("cloche_guest.find_guest", lambda language: None)
    checker.cache_clear()
    assert isinstance(checker().exception(60), GuestUnavailable)
    assert walk_or_not(encode(LARGE)) is None
    assert "checked in Python" in caplog.text
    checker.cache_clear()


def test_a_large_output_is_split_as_a_small_one() -> None:
    commands = [encode([0, n, "p", "step", [LARGE[: 100 * n]]]) for n in range(1, 20)]
    output = b"\xf6" + b"\xf6".join([commands[0], b"".join(commands[1:5]), b"".join(commands[5:])]) + b"\xf6\xf6"
    slowly = list(split_output(output))
    asked: list[int] = []

    def noted(data: bytes) -> Any:
        asked.append(len(data))
        return walk(data)

    assert list(split_output(output, validator=noted)) == slowly
    assert asked == [len(output)]


def test_what_is_wrong_in_a_large_output_is_named_as_in_a_small_one() -> None:
    bounds = replace(WIDE, value_items=3_000)
    with pytest.raises(LimitExceeded, match="value_items"):
        list(split_output(encode([0, 1, "p", "step", [LARGE]]) + b"\xf6", bounds))
    broken = encode([0, 1, "p", "step", [LARGE]]) + b"\xf6" + struct.pack(">BH", 0xF9, 1)
    with pytest.raises(MalformedOutput, match=f"byte {len(broken) - 3}"):
        list(split_output(broken))
