"""However events are batched, the same bytes come out and the same bytes stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from guest.cells import NOW, SEED, Cell, echo_history, echo_loop, pack, workflow
from hypothesis import given, settings
from hypothesis import strategies as st

# Everything a turn could leave behind: strings, big integers, dates, errors with stacks, regular expressions, maps that
# grow, promises that race, garbage in cycles, random numbers, log lines, timers and generators.
BUSY = workflow("""
const seen = new Map(); const log = []; let total = 0n;
async function* numbers() {
  for (let i = 0; ; i++) yield await step("n", `n[${i}]`)({ i, text: "é".repeat(i % 7) });
}
let i = 0;
for await (const value of numbers()) {
  const cycle = { value }; cycle.self = cycle; seen.set(`key ${value.n % 50}`, cycle);
  total += BigInt(value.n) ** 3n;
  if (/^x(\\d+)$/u.exec(value.text)?.[1] % 10 === 3) console.log("three", new Date().toISOString(), Math.random());
  if (value.n % 5 === 0) { try { null.x } catch (e) { log.push(e.stack.length) } }
  if (value.n % 11 === 0) log.splice(0, 3);
  if (value.n % 13 === 0) [...seen.keys()].sort().map((k) => k + crypto.randomUUID());
  if (++i === input) break;
}
return { total, seen: seen.size, log };
""")


def busy_history(count: int) -> list[bytes]:
    events = [pack([0, NOW, SEED, count, {}])]
    for call in range(1, count + 1):
        value = {"n": call, "text": f"x{call}", "items": [call, str(call), {"deep": [None, 1.5, b"bytes"]}]}
        events.append(pack([1, NOW + 10 * call, call, value]))
    return events


def cut(events: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(events), size):
        yield events[at : at + size]


def deliver(source: str, batches: Iterator[Sequence[bytes]]) -> tuple[bytes, bytes]:
    """Output and state."""
    cell = Cell(source)
    output = b"".join(cell.give(*batch) for batch in batches)
    return output, cell.state()


@pytest.mark.parametrize("size", [1, 7, 500])
def test_two_thousand_events_leave_the_same_memory_in_any_batch_size(size: int) -> None:
    events = busy_history(2000)

    assert deliver(BUSY, cut(events, size)) == deliver(BUSY, cut(events, len(events)))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_any_batching_leaves_the_same_memory(sizes: list[int]) -> None:
    events = busy_history(sum(sizes))[: sum(sizes)]
    batches, at = [], 0
    for size in sizes:
        batches.append(events[at : at + size])
        at += size

    assert deliver(BUSY, iter(batches)) == deliver(BUSY, cut(events, len(events)))


@pytest.mark.parametrize("at", [1, 2, 50, 199])
def test_a_restored_state_goes_on_as_the_cell_it_was_taken_from(at: int) -> None:
    events = busy_history(200)
    whole, first, restored = Cell(BUSY), Cell(BUSY), Cell()
    whole_output = whole.give(*events)
    first_output = first.give(*events[:at])
    restored.restore(first.state())

    assert first_output + restored.give(*events[at:]) == whole_output
    assert restored.state() == whole.state()


def test_parallel_calls_answered_in_any_order_and_batch_leave_the_same_memory() -> None:
    source = workflow("return await Promise.all(Array.from({ length: 100 }, (_, i) => step('s')(i)))")
    order = [(37 * i) % 100 + 1 for i in range(100)]
    events = [pack([0, NOW, SEED, None, {}]), *(pack([1, NOW, call, call]) for call in order)]

    assert deliver(source, cut(events, 1)) == deliver(source, cut(events, 101))


def test_fuel_is_the_same_but_for_a_constant_of_each_turn() -> None:
    events = busy_history(120)

    def fuel(size: int) -> tuple[int, int]:
        cell = Cell(BUSY)
        before = cell.fuel_used()
        turns = 0
        for batch in cut(events, size):
            cell.pass_(b"".join(batch))
            turns += 1
        return cell.fuel_used() - before, turns

    whole, _ = fuel(121)
    constants = {(used - whole) / (turns - 1) for used, turns in map(fuel, (1, 2, 7, 50))}
    assert len(constants) == 1
    assert constants.pop() < 1000


def test_a_turn_stops_early_between_two_events_when_much_output_waits() -> None:
    source = workflow("for (let i = 0; i < 10; i++) await step('s')('x'.repeat(1_000_000)); return 1")
    events = list(echo_history(10))
    cell, data, outputs = Cell(source), b"".join(events), []
    while data:
        consumed, output = cell.pass_(data)
        data = data[consumed:]
        outputs.append(output)

    assert len(outputs) > 2
    assert all(2 << 20 < len(output) <= 8 << 20 for output in outputs[:-1])
    one_by_one = Cell(source)
    assert b"".join(outputs) == b"".join(one_by_one.give(event) for event in events)
    assert cell.state() == one_by_one.state()


def test_the_largest_output_of_an_event_fits_behind_what_waits() -> None:
    source = workflow("await step('s')('x'.repeat(2_097_100)); await step('s')('y'.repeat(6_291_400)); return 1")
    cell = Cell(source)

    consumed, output = cell.pass_(b"".join(echo_history(1)))

    assert consumed == sum(map(len, echo_history(1)))
    assert len(output) > 8_000_000


def test_memory_follows_what_is_open_and_not_what_has_happened() -> None:
    cell = Cell(echo_loop(50_000))
    events = list(echo_history(50_000))
    cell.give(*events[:100])
    early = len(cell.state())
    cell.give(*events[100:])

    assert len(cell.state()) == early


def test_ten_thousand_open_calls_give_their_memory_back_for_the_next() -> None:
    round_ = "await Promise.all(Array.from({ length: 10_000 }, (_, i) => step('s')(i)));"
    cell = Cell(workflow(round_ * 3))
    events = list(echo_history(30_000))
    cell.give(*events[:10_001])
    after_one = len(cell.state())
    cell.give(*events[10_001:])

    assert len(cell.state()) <= after_one * 1.1
