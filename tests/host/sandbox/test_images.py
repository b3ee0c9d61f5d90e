"""Images and cells: small, equal for equal code, and a pure function of the events however they come."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cloche.engines import SandboxEngine
from cloche.errors import InvalidInput, LoadFailed, MalformedOutput, UsageError
from cloche.history import CallId, TimeMs
from cloche.history.messages import Started, StepCompleted, TimerFired
from cloche.history.output import split_output
from cloche.sandbox import Cell, Image, Limits, base_image, load_image

SOURCE = """
const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async function workflow(input) {
  let seen = new Map(), sum = 0;
  for (let i = 0; i < input; i++) {
    const pair = await Promise.all([step("a", `a[${i}]`)(i), step("b", `b[${i}]`)(i)]);
    seen.set(i, { at: Date.now(), chance: Math.random(), pair });
    sum += pair[0];
  }
  return { sum, size: seen.size };
}
"""


def image(source: str = SOURCE, limits: Limits | None = None) -> Image:
    return load_image(base_image(*SandboxEngine().guest()), source, limits or Limits())


def events(turns: int) -> list[bytes]:
    calls = itertools.count(1)
    began = Started(TimeMs(1_000), bytes(range(16)), turns, {})
    answers = [StepCompleted(TimeMs(1_000 + n), CallId(next(calls)), n) for n in range(2 * turns)]
    return [event.pack() for event in (began, *answers)]


def test_an_image_is_a_few_pages_beside_its_base() -> None:
    loaded = image()
    assert 0 < loaded.page_count < 64
    assert loaded.memory_bytes < 24 << 20


def test_an_image_is_loaded_once_and_named_by_guest_and_source() -> None:
    assert image() is image()
    assert image().digest != image(SOURCE + "// changed").digest
    assert image(limits=Limits(memory_bytes=64 << 20)).digest == image().digest


def test_cells_of_one_image_are_equal_and_do_not_meet() -> None:
    one, two = Cell(image(), Limits()), Cell(image(), Limits())
    assert one.state_hash() == two.state_hash()
    one.turn(events(1)[:1])
    assert one.state_hash() != two.state_hash()
    two.turn(events(1)[:1])
    assert one.state_hash() == two.state_hash()


@pytest.mark.parametrize("size", [1, 2, 7, 50, 101])
def test_state_and_output_do_not_depend_on_how_events_are_batched(size: int) -> None:
    given = events(50)
    whole = Cell(image(), Limits())
    expected = whole.turn(given)
    cell = Cell(image(), Limits())
    output = b"".join(cell.turn(given[at : at + size]) for at in range(0, len(given), size))
    assert (output, cell.state_hash()) == (expected, whole.state_hash())
    assert len(list(split_output(output))) == len(given)


def test_a_batch_larger_than_the_window_goes_through_in_portions() -> None:
    source = SOURCE.replace("sum += pair[0]", "sum += pair[0].length")
    given = [Started(TimeMs(0), bytes(16), 3, {}).pack()]
    given += [StepCompleted(TimeMs(0), CallId(n), "x" * (3 << 20)).pack() for n in range(1, 7)]
    whole, single = Cell(image(source), Limits()), Cell(image(source), Limits())
    assert whole.turn(given) == b"".join(single.turn([event]) for event in given)
    assert whole.state_hash() == single.state_hash()


def test_an_event_larger_than_the_window_is_refused_before_anything_enters() -> None:
    cell = Cell(image(), Limits())
    before = cell.state_hash()
    for batch in ([b"x" * (9 << 20)], [*events(1), b"x" * (9 << 20)]):
        with pytest.raises(InvalidInput, match="8388608 can enter the glass"):
            cell.turn(batch)
    assert cell.state_hash() == before


def test_what_the_host_may_not_say_is_refused_by_the_guest() -> None:
    for wrong, message in (
        (b"\xff", "refused its input as malformed"),
        (b"\x83\x01\x00", "refused its input as malformed"),
        (StepCompleted(TimeMs(0), CallId(9), 1).pack(), "the answer to a call that it did not make"),
        (TimerFired(TimeMs(0), CallId(1)).pack(), "the answer to a call that it did not make"),
    ):
        cell = Cell(image(), Limits())
        cell.turn(events(1)[:1])
        with pytest.raises(MalformedOutput, match=message):
            cell.turn([wrong])


def test_fuel_is_counted_and_the_same_for_the_same_work() -> None:
    used = []
    for _ in range(2):
        cell = Cell(image(), Limits())
        cell.turn(events(20))
        used.append(cell.fuel_used)
    assert used[0] == used[1] > 1000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("export default async () => {", "SyntaxError"),
        ("throw new TypeError('no')", "TypeError: no"),
        ("throw 42", "Error: 42"),
        ("export const workflow = 1", "default export"),
        ("import fs from 'fs'; export default async () => fs", "fs"),
        ("export default 7", "default export"),
        ("", "default export"),
    ],
)
def test_code_that_does_not_load_says_why(source: str, message: str) -> None:
    with pytest.raises(LoadFailed, match=message):
        image(source)


def test_code_larger_than_the_window_is_refused() -> None:
    with pytest.raises(LoadFailed, match="the workflow's source has 9437184 bytes"):
        image(" " * (9 << 20))


@pytest.mark.parametrize("wrong", [0, -1, 1 << 63, 1.5, None, True])
def test_limits_are_whole_numbers_from_one(wrong: Any) -> None:
    for name in ("fuel_per_event", "wall_ms_per_event", "memory_bytes"):
        with pytest.raises(UsageError, match=f"{name} must be a whole number"):
            Limits(**{name: wrong})
