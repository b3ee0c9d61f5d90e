"""What DirectEngine promises by name: JavaScript's values, code strings, bounds, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from host.engines.twins import NOW, Twins, code_of, commands_of, engines, event, opened, started

from cloche import create_step
from cloche.engines import Code, DirectEngine
from cloche.errors import InvalidInput, LoadFailed, OutputTooLarge, UsageError
from cloche.history import DEFAULT_TENANT
from cloche.history.limits import Limits
from cloche.history.values import encode_plain
from cloche_codegen import Workflow, code, create_workflow, path


def new() -> Workflow:
    return create_workflow(id="w")


def step(id: str) -> Any:
    return create_step(id=id, execute=lambda data: data)


def said(workflow: Workflow, value: Any = None, *events: list[Any], **given: Any) -> list[list[Any]]:
    """The commands that both engines wrote at the last of the events."""
    twins = Twins(workflow.commit())
    commands = twins.tell(started(value, **given))
    for items in events:
        commands = twins.tell(event(items[0], NOW, *items[1:]))
    return commands


def result(workflow: Workflow, value: Any = None, **given: Any) -> Any:
    *_, [kind, outcome] = said(workflow, value, **given)
    assert kind == 7, outcome
    return outcome


def failure(workflow: Workflow, value: Any = None, **given: Any) -> dict[str, Any]:
    *_, [kind, outcome] = said(workflow, value, **given)
    assert kind == 8
    assert isinstance(outcome, dict)
    return outcome


# ---- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-0.0, "0"), (1e21, "1e+21"), (2**60, str(2**60)), (2.0**60, "1152921504606847000"), (0.1, "0.1"),
        (True, "true"), (None, ""), ([1.0, None, "ä"], '[1,null,"ä"]'), (b"\x01\x02", "[1,2]"), (float("nan"), "NaN"),
        ({"10": 1, "b": 2, "2": 3}, '{"2":3,"10":1,"b":2}'), ("", ""), (float("-inf"), "-Infinity"),
    ],
)  # fmt: skip
def test_templates_show_values_as_javascript_does(value: Any, text: str) -> None:
    assert result(new().map({"t": {"template": "${inputData}"}}), value) == {"t": text}


@pytest.mark.parametrize("value", [2.0, 2.0**53, -(2.0**53) + 1, 2**53 - 1, 2**53, 1e300, -0.0, 5e-324])
def test_numbers_go_back_as_javascript_writes_them(value: Any) -> None:
    twins = Twins(new().then(step("s")).commit())
    twins.tell(started(value))


def test_what_is_missing_is_absent_in_maps_and_null_in_lists() -> None:
    workflow = new().map({"gone": path("inputData.x"), "here": path("inputData.v")})
    assert result(workflow, {"v": None}) == {"here": None}


def test_a_value_flows_on_as_the_same_object() -> None:
    same = {"eq": {"left": {"path": "inputData"}, "right": {"path": "initData"}}}
    through = new().map(code("inputData"), id="m").choose([(same, step("same"))], otherwise=step("other"))
    assert said(through, b"")[-1][2] == "same"
    made_anew = new().map(code("({ ...inputData })"), id="m").choose([(same, step("same"))], otherwise=step("other"))
    assert said(made_anew, {})[-1][2] == "other"


def test_what_is_too_deep_to_be_passed_on_is_refused_by_its_place() -> None:
    value: Any = []
    for _ in range(63):
        value = [value]
    twins = Twins(new().then(step("s")).commit())
    [[kind, refusal]] = twins.tell(encode_plain([0, NOW, bytes(16), value, {}]))
    assert kind == 8
    assert refusal == {"name": "TypeError", "message": f"arguments[0]{'[0]' * 63} is nested deeper than 64"}


# ---- code strings ----------------------------------------------------------------------------------------------------------


def test_code_strings_share_their_globals_their_randomness_and_their_time() -> None:
    fields = {
        "count": code("globalThis.n = (globalThis.n ?? 0) + 1"),
        "random": code("Math.random()"),
        "now": code("Date.now()"),
    }
    made = result(
        new().map(fields).map({"first": path("inputData"), "random": code("Math.random()"), "count": code("n")})
    )
    assert (made["first"]["count"], made["count"], made["first"]["now"]) == (1, 1, NOW)
    assert made["first"]["random"] != made["random"]


def test_what_code_writes_to_the_console_is_in_its_place() -> None:
    commands = said(new().map(code("(console.log('a', inputData), 1)"), id="m").then(step("s")), {"v": 1})
    assert [command[0] for command in commands] == [5, 4, 6, 0]


@pytest.mark.parametrize(
    "text",
    [
        "() => 1", "[{ a: Symbol() }]", "new Map()", "/x/", "new (class Thing { x = () => 1 })()", "new Date(NaN)",
        "(() => { const a = []; a[0] = { b: a }; return a })()", "Promise.resolve(1)", "({ a: Promise.resolve(1) })",
        "(() => { throw { v: 1 } })()", "(() => { throw undefined })()", "undefined.x", "nothing",
        "(() => { const e = new Error('a'); e.cause = e; throw e })()", "new Date(9e15)",
        "new Date(-62135596800001)", "new Date(8.64e15)",
        "new Int8Array(2)",
    ],
)  # fmt: skip
def test_what_a_code_string_may_not_give_fails_alike(text: str) -> None:
    assert failure(new().map({"field": code(text)}), {"v": 1})
    assert failure(new().map(code(text), id="m"), {"v": 1})


@pytest.mark.parametrize(
    "text", ["({ n: 5n, u: undefined, d: new Date(0) })", "[undefined, -0, 2n ** 64n]", "({ b: new Uint8Array(2) })"]
)
def test_what_code_made_is_for_later_code_what_it_was(text: str) -> None:
    look = "Object.entries(inputData).map(([key, value]) => key + typeof value + (value instanceof Date))"
    assert isinstance(result(new().map(code(text), id="m").map(code(look), id="n")), list)


def test_an_instant_of_text_is_read_as_javascript_reads_it() -> None:
    for text in (
        "2026-01-31T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31 12:00:00.1234567+05:30",
        "2026-1-1",
        "0000-01-01T00:00:00Z",
    ):
        twins = Twins(new().sleep_until(path("inputData"), id="z").commit())
        twins.tell(started(text))


def test_code_that_does_not_parse_is_found_when_the_cell_is_opened() -> None:
    broken = code_of(new().map(code("1 +* 2"), id="m").commit())
    for engine in engines():
        with pytest.raises(LoadFailed):
            opened(engine, broken)


def test_code_that_asks_for_steps_does_so_in_a_cell() -> None:
    text = "(globalThis[Symbol.for('WORKFLOW_USE_STEP')]('s')(), 1)"
    assert [command[0] for command in said(new().map(code(text), id="m"))] == [5, 0, 6, 7]


def test_code_that_never_ends_is_stopped_by_the_pinned_limits() -> None:
    twins = Twins(new().map(code("(() => { for (;;); })()"), id="m").commit())
    twins.tell(started())
    assert twins.fault == "fuel-exhausted"


# ---- bounds and refusals -----------------------------------------------------------------------------------------------------


def opened_direct(workflow: Workflow) -> Any:
    return opened(engines()[1], code_of(workflow.commit()))


def test_a_loop_that_waits_for_nothing_is_stopped() -> None:
    inner = create_workflow(id="inner").map(path("inputData"), id="m").commit()
    cell = opened_direct(new().dountil(inner, {"exists": {"path": "state.never"}}))
    with pytest.raises(OutputTooLarge, match="100,000"):
        cell.turn([started()])


def test_more_output_than_may_leave_is_a_fault() -> None:
    workflow = new().parallel([step("a"), step("b")])
    with pytest.raises(OutputTooLarge, match="6 MiB"):
        opened_direct(workflow).turn([started("x" * (4 << 20))])
    assert len(opened_direct(workflow).turn([started("x" * (2 << 20))])) > 4 << 20


@pytest.mark.parametrize(
    "items",
    [[1, NOW, 2, None], [4, NOW, 1], [1, NOW, 1, None, []], [0, NOW, b"", None, {}], [11, NOW, 1], [6, NOW, 1, [0, None]], []],
)  # fmt: skip
def test_events_that_cannot_be_are_refused_alike(items: list[Any]) -> None:
    twins = Twins(new().then(step("s")).commit())
    twins.tell(started())
    twins.tell(event(*items))
    assert twins.fault == "malformed-output"


def test_an_event_that_no_guest_could_take_is_refused() -> None:
    with pytest.raises(InvalidInput, match="8388608"):
        opened_direct(new().then(step("s"))).turn([started("x" * (8 << 20))])


def test_hand_written_code_is_for_the_sandbox() -> None:
    code = Code("hand", "0" * 64, "export default async () => 1", {}, "")
    with pytest.raises(UsageError, match="SandboxEngine"):
        DirectEngine().open(code, lambda: b"", Limits(), DEFAULT_TENANT)


def test_nothing_is_measured_and_runs_are_pinned_to_the_same_guest() -> None:
    glass, direct = engines()
    assert (direct.guest(), direct.limits()) == (glass.guest(), glass.limits())
    cell = opened_direct(new().then(step("s")))
    before = cell.state_hash()
    assert commands_of(cell.turn([started()]))
    assert cell.fuel_used == 0
    assert cell.state_hash() != before
