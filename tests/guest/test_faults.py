"""Faults: what ends a cell, each with its number."""

from __future__ import annotations

import pytest
import wasmtime
from guest.cells import NOW, SEED, Cell, GuestStopped, echo_history, echo_loop, pack, workflow

from cloche_guest.abi import Fault

WAITS = workflow("await step('a')(); await cloche.sleep('t', 1); return 1")


def fault_of(cell: Cell, *events: bytes) -> Fault:
    with pytest.raises(GuestStopped) as stopped:
        cell.give(*events)
    return Fault(stopped.value.code)


START = pack([0, NOW, SEED, None, {}])


@pytest.mark.parametrize(
    "event",
    [
        pack([9, NOW, 1]),
        pack([0, NOW]),
        pack([0, NOW, SEED[:15], None, {}]),
        pack([0, NOW, SEED + b"x", None, {}]),
        pack([0, NOW, SEED, None, []]),
        pack([0, NOW, SEED, None]),
        pack([0, 1.5, SEED, None, {}]),
        pack([0, 8640000000000001, SEED, None, {}]),
        pack([1, NOW, 1, None]),
        pack({}),
        pack(None),
        pack(5),
        START[:-1],
        START + b"\x00",
        b"\x9f",
    ],
)
def test_a_malformed_first_event_is_refused(event: bytes) -> None:
    assert fault_of(Cell(WAITS), event) == Fault.INPUT


@pytest.mark.parametrize(
    "event",
    [
        START,
        pack([1, NOW, 1]),
        pack([1, NOW, 1, 1, 5]),
        pack([1, NOW, 1, 1, {}, 1])[:-1] + b"\x9f",
        pack([2, NOW, 1, {"name": "E"}]),
        pack([2, NOW, 1, {"message": "m"}]),
        pack([2, NOW, 1, {"name": "E", "message": 5}]),
        pack([2, NOW, 1, {"name": "E", "stack": "s", "message": "m"}]).replace(b"as", b"a\xff"),
        pack([2, NOW, 1, {"name": "E", "cause": {}, "message": "m"}]),
        pack([2, NOW, 1, "text"]),
        pack([3, NOW, 1, 5]),
        pack([7, NOW, 5]),
        pack([8, NOW, 1, [0, None]]),
        pack([14, NOW, 1, None]),
    ],
)
def test_a_malformed_later_event_is_refused(event: bytes) -> None:
    cell = Cell(WAITS)
    cell.start()

    assert fault_of(cell, event) == Fault.INPUT


@pytest.mark.parametrize(
    "event",
    [
        pack([1, NOW, 2, None]),
        pack([1, NOW, 0, None]),
        pack([1, NOW, 2**40, None]),
        pack([4, NOW, 1]),
        pack([5, NOW, 1, None]),
    ],
)
def test_an_answer_to_no_open_call_of_its_kind_is_refused(event: bytes) -> None:
    cell = Cell(WAITS)
    cell.start()

    assert fault_of(cell, event) == Fault.CALL


def test_a_call_is_answered_once() -> None:
    cell = Cell(WAITS)
    cell.start()
    cell.complete(1)

    assert fault_of(cell, pack([1, NOW, 1, None])) == Fault.CALL


def test_a_chain_of_causes_that_is_too_deep_is_refused() -> None:
    failure: dict[str, object] = {"name": "E", "message": "m"}
    for _ in range(64):
        failure = {"name": "E", "cause": failure, "message": "m"}
    cell = Cell(WAITS)
    cell.start()

    assert fault_of(cell, pack([2, NOW, 1, failure])) == Fault.INPUT


def test_nothing_is_delivered_before_a_workflow_is_loaded() -> None:
    assert fault_of(Cell(), START) == Fault.NOT_LOADED


def test_an_input_longer_than_the_window_is_refused() -> None:
    cell = Cell(WAITS)

    assert cell._turn(cell.store, (8 << 20) + 1) == Fault.INPUT
    assert cell._load(cell.store, (8 << 20) + 1) == Fault.INPUT


def test_more_than_six_megabytes_from_one_event_are_refused() -> None:
    body = "try { await step('s')('x'.repeat(6_300_000)) } catch { return 'caught' }"

    assert fault_of(Cell(workflow(body)), START) == Fault.OUTPUT


def test_many_commands_that_are_large_together_are_refused() -> None:
    body = "for (let i = 0; i < 7; i++) console.log('x'.repeat(1_000_000)); for (;;) { try { step('s')() } catch {} }"

    assert fault_of(Cell(workflow(body)), START) == Fault.OUTPUT


def test_a_sparse_array_of_billions_is_refused_as_output_and_not_copied() -> None:
    assert fault_of(Cell(workflow("const a = []; a.length = 4_000_000_000; return a")), START) == Fault.OUTPUT


def test_a_hundred_thousand_commands_of_one_event_are_the_limit() -> None:
    exact = Cell(workflow("for (let i = 0; i < 99_999; i++) console.log(''); return 1"))
    assert len(exact.give(START)) == 99_999 * 4 + 4

    assert (
        fault_of(Cell(workflow("for (let i = 0; i < 100_000; i++) console.log(''); return 1")), START) == Fault.COMMANDS
    )


def test_the_limit_counts_each_event_for_itself() -> None:
    cell = Cell(
        workflow("for (let k = 0; k < 3; k++) { for (let i = 0; i < 60_000; i++) console.log(''); await step('s')() }")
    )

    cell.give(*echo_history(3))


@pytest.mark.parametrize(
    "body",
    [
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20))",
        "let s = 'x'; for (;;) { s += s; s.charCodeAt(0) }",
        "return new ArrayBuffer(1 << 30)",
        "const a = []; for (;;) { try { a.push({}, [a]) } catch {} }",
        "for (;;) { try { await step('x')(new Uint8Array(200 << 20)) } catch {} }",
        "const a = []; for (let n = 1n; ; n += 1n) a.push(n << 1_000_000n)",
    ],
)
def test_memory_beyond_the_limit_ends_the_turn_whatever_the_code_catches(body: str) -> None:
    cell = Cell(workflow(body), memory_bytes_max=64 << 20)
    cell.store.set_fuel(20_000_000_000)

    assert fault_of(cell, START) in (Fault.MEMORY, Fault.OUTPUT)


def test_an_exception_of_the_engine_itself_can_be_caught() -> None:
    body = "try { 'x'.repeat(2 ** 30) } catch (e) { return e.name }"

    assert Cell(workflow(body)).start() == [[7, "RangeError"]]


def test_an_endless_loop_runs_out_of_fuel() -> None:
    cell = Cell(workflow("for (;;) { try { for (;;); } catch {} }"))
    cell.store.set_fuel(50_000_000)

    with pytest.raises(wasmtime.Trap, match="fuel"):
        cell.give(START)


def test_endless_microtasks_run_out_of_fuel() -> None:
    cell = Cell(workflow("const f = () => Promise.resolve().then(f); f(); await step('x')()"))
    cell.store.set_fuel(50_000_000)

    with pytest.raises(wasmtime.Trap, match="fuel"):
        cell.give(START)


def test_the_last_history_entry_is_not_special() -> None:
    cell = Cell(echo_loop(3))

    assert cell.give(*echo_history(3)).endswith(b"\x82\x07\x06\xf6")
