"""A cell as bytes: what comes back is the cell that was frozen, or nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cloche_guest
from cloche.errors import CheckpointRejected
from cloche.history import CallId, TimeMs
from cloche.history.messages import Started, StepCompleted
from cloche.history.values import decode, encode_plain
from cloche.sandbox import Cell, Image, Limits, base_image, load_image
from cloche.sandbox.saved import xor

STEP = 'const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];\n'
LOOP = STEP + (
    "export default async function (n) {\n"
    "  const kept = [];\n"
    "  for (let i = 0; i < n; i++) kept.push(await step('next')(i, 'x'.repeat(i % 900)));\n"
    "  return kept.length;\n}"
)
NOW = 1_760_000_000_000
LIMITS = Limits()


def image(source: str = LOOP) -> Image:
    guest = cloche_guest.ensure_guest("javascript")
    return load_image(base_image(guest.digest, guest.wasm), source, LIMITS)


def events(count: int) -> list[bytes]:
    answers = [
        StepCompleted(TimeMs(NOW + call), CallId(call), {"big": "y" * (call % 700)}) for call in range(1, count + 1)
    ]
    return [Started(TimeMs(NOW), bytes(16), count, {}).pack(), *(answer.pack() for answer in answers)]


def frozen_behind(heard: list[bytes]) -> tuple[Cell, str, bytes]:
    cell = Cell(image(), LIMITS)
    if heard:
        cell.turn(heard)
    return cell, *cell.freeze()()


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 400), cut=st.floats(0, 1))
def test_a_thawed_cell_is_the_one_that_was_frozen_and_goes_on_alike(count: int, cut: float) -> None:
    all_events = events(count)
    at = round(cut * len(all_events))
    cell, state_hash, frozen = frozen_behind(all_events[:at])
    thawed = Cell.thaw(image(), LIMITS, frozen)
    assert (thawed.state(), thawed.state_hash(), thawed.fuel_used) == (cell.state(), state_hash, cell.fuel_used)
    if all_events[at:]:
        assert thawed.turn(all_events[at:]) == cell.turn(all_events[at:])
    assert thawed.state() == cell.state()


def test_what_happens_after_freezing_is_not_in_it() -> None:
    all_events = events(50)
    cell = Cell(image(), LIMITS)
    cell.turn(all_events[:20])
    pack, before = cell.freeze(), cell.state()
    cell.turn(all_events[20:])
    assert Cell.thaw(image(), LIMITS, pack()[1]).state() == before


def test_a_cell_that_grew_its_memory_comes_back_as_large() -> None:
    all_events = events(3_000)
    cell, _, frozen = frozen_behind(all_events)
    assert len(cell.state()) > len(Cell(image(), LIMITS).state())
    assert Cell.thaw(image(), LIMITS, frozen).state() == cell.state()


def test_the_size_does_not_grow_with_the_history() -> None:
    source = STEP + "export default async function (n) { for (let i = 0; i < n; i++) await step('next')(i); }"
    sizes = []
    for count in (10, 1_000, 20_000):
        cell = Cell(image(source), LIMITS)
        cell.turn(events(count)[:-1])
        sizes.append(len(cell.freeze()()[1]))
    assert max(sizes) < 8_000, sizes


def test_a_cell_of_other_code_is_refused() -> None:
    _, _, frozen = frozen_behind(events(3))
    with pytest.raises(CheckpointRejected, match="another version of the code"):
        Cell.thaw(image(LOOP + "\n// changed"), LIMITS, frozen)


def test_a_cell_of_another_format_is_refused() -> None:
    _, _, frozen = frozen_behind(events(3))
    with pytest.raises(CheckpointRejected):
        Cell.thaw(image(), LIMITS, encode_plain([2, *decode(frozen)[1:]]))


@pytest.mark.parametrize("claims", ["more", "less"])
def test_pages_that_are_not_as_long_as_they_say_are_refused(claims: str) -> None:
    _, _, frozen = frozen_behind(events(3))
    *head, places, packed = decode(frozen)
    places[-1][1] += 4096 if claims == "more" else -4096
    with pytest.raises(CheckpointRejected, match="not as long"):
        Cell.thaw(image(), LIMITS, encode_plain([*head, places, packed]))


def test_what_would_inflate_beyond_the_memory_limit_is_refused_before_it_is() -> None:
    _, _, frozen = frozen_behind(events(3))
    wire: list[Any] = decode(frozen)
    wire[4] = [[0, 1 << 40]]
    with pytest.raises(CheckpointRejected, match="memory limit"):
        Cell.thaw(image(), LIMITS, encode_plain(wire))


def test_xor_counts_the_shorter_side_as_zero() -> None:
    chance = random.Random(1)
    for _ in range(50):
        left, right = chance.randbytes(chance.randrange(40)), chance.randbytes(chance.randrange(40))
        size = max(len(left), len(right))
        expected = bytes(a ^ b for a, b in zip(left.ljust(size, b"\0"), right.ljust(size, b"\0"), strict=True))
        assert xor(left, right) == expected
        assert xor(xor(left, right), right)[: len(left)] == left
