"""The wire is spelled once: what `guest/ABI.md`, the guests and the SQL say of it is what the classes of the messages say."""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, fields
from pathlib import Path as File
from typing import Any

import pytest

from cloche.history import CallId, Failure, Kind, Path, TimeMs
from cloche.history.messages import (
    COMMAND_TYPES,
    COMMANDS,
    EVENT_TYPES,
    EVENTS,
    MESSAGE_TYPES,
    CancelRequested,
    ChildEnded,
    Event,
    HookFailed,
    HookReceived,
    Replaying,
    Started,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    StepSuspended,
    TimerFired,
    Upgraded,
    unpack_event,
)
from cloche.history.notes import NOTE_TYPES
from cloche.history.output import command_name, field_names
from cloche.history.values import decode
from cloche.store.protocol import RESULTS
from cloche_guest.abi import Fault

REPOSITORY = File(__file__).parents[3]
GUEST = REPOSITORY / "guest"
ABI = (GUEST / "ABI.md").read_text()
CDDL = re.sub(r" *;.*", "", ABI[ABI.index("```cddl") : ABI.index("```", ABI.index("```cddl") + 3)])
NOT_OF_THE_HOST: dict[str, int] = {}  # in the grammar; no host sends it
PARTS: dict[str, str] = dict(re.findall(r"^(suspension|resumption|codes) += \{ (.*) \}$", CDDL, re.M))

Rule = tuple[int, tuple[str, ...]]


def rules(of: str) -> dict[str, Rule]:
    """The events or the commands of the grammar: number and fields by name. Optional fields end with `?`."""
    names = re.split(r"[/\s]+", re.search(rf"^{of} = (.*(?:\n +/.*)*)", CDDL, re.M)[1].strip())  # type: ignore[index]
    return {name: rule(name) for name in names}


def rule(name: str) -> Rule:
    found = re.search(rf"^{name} += \[(\d+), (.*)\]$", CDDL, re.M)
    assert found is not None, name
    return int(found[1]), tuple(field for part in found[2].split(", ") for field in field_of(part))


def field_of(part: str) -> list[str]:
    """`due: time` is due, `? state: values` is state?, and a map is its keys."""
    if part in PARTS:
        return re.sub(r'(\? )?"(\w+)": [^,}]*', lambda m: m[2] + ("?" if m[1] else ""), PARTS[part]).split(", ")
    name = part.removeprefix("? ").split(":")[0]
    return [name + ("?" if part.startswith("? ") else "")]


def of_class(message: type[Any], *, left_out: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The fields of a class; those that have a default end with `?`."""
    own = [one for one in fields(message) if one.name not in ("_packed", "_packed_for", *left_out)]
    return tuple(one.name + ("?" if (one.default, one.default_factory) != (MISSING, MISSING) else "") for one in own)


# ---- the grammar ---------------------------------------------------------------------------------------------------------


def test_events_are_numbered_as_in_the_grammar() -> None:
    numbers = {event.abi_name: event.number for event in EVENT_TYPES} | {Replaying.abi_name: Replaying.number}
    assert numbers | NOT_OF_THE_HOST == {name: number for name, (number, _) in rules("event").items()}


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_an_event_has_the_fields_of_the_grammar(event: type[Event]) -> None:
    _, names = rules("event")[event.abi_name]
    if event is CancelRequested:  # a guest takes one without a reason, too
        names = tuple(name.removesuffix("?") for name in names)
    assert of_class(event, left_out=("is_final",)) == names


def test_commands_are_those_of_the_grammar() -> None:
    known = {command.abi_name: (command.number, of_class(command)) for command in COMMAND_TYPES}
    assert known == rules("command")
    assert {name: field_names(number) for name, (number, _) in known.items()} == {
        name: tuple(field.removesuffix("?") for field in names) for name, (_, names) in known.items()
    }
    assert [command_name(number) for number, _ in known.values()] == list(known)


AT, CALL = TimeMs(7), CallId(3)
FAILURE = Failure("E", "no")
SAMPLES: list[tuple[Event, list[Any]]] = [
    (Started(AT, bytes(16), 1, {"state": {}}), [0, 7, bytes(16), 1, {"state": {}}]),
    (StepCompleted(AT, CALL, "v"), [1, 7, 3, "v"]),
    (StepCompleted(AT, CALL, "v", {"a": 1}), [1, 7, 3, "v", {"a": 1}]),
    (StepFailed(AT, CALL, FAILURE), [2, 7, 3, {"name": "E", "message": "no"}]),
    (StepSuspended(AT, CALL, Path("p")), [3, 7, 3, {"path": "p"}]),
    (StepSuspended(AT, CALL, Path("p"), 1, ("l",)), [3, 7, 3, {"path": "p", "labels": ["l"], "payload": 1}]),
    (StepSuspended(AT, CALL, Path("p"), state={"a": 1}), [3, 7, 3, {"path": "p"}, {"a": 1}]),
    (TimerFired(AT, CALL), [4, 7, 3]),
    (HookReceived(AT, CALL, "v"), [5, 7, 3, "v"]),
    (HookFailed(AT, CALL, FAILURE), [13, 7, 3, {"name": "E", "message": "no"}]),
    (ChildEnded(AT, CALL, [0, 1]), [6, 7, 3, [0, 1]]),
    (CancelRequested(AT, "why"), [7, 7, "why"]),
    (StepResumed(AT, CALL, Path("p"), 2), [9, 7, 3, {"data": 2, "path": "p"}]),
    (StepBailed(AT, CALL, "v", {"a": 1}), [10, 7, 3, "v", {"a": 1}]),
    (Upgraded(AT, "c0", "9e"), [11, 7, {"code": "c0", "guest": "9e"}]),
]


@pytest.mark.parametrize(("event", "wire"), SAMPLES, ids=lambda one: type(one).__name__)
def test_an_event_is_written_and_read_in_this_order(event: Event, wire: list[Any]) -> None:
    assert decode(event.pack()) == wire
    assert list(map(str, decode(event.pack())[-1:])) == list(map(str, wire[-1:]))  # keys in their order
    assert unpack_event(event.pack()) == event


def test_every_event_has_a_sample() -> None:
    assert {type(event) for event, _ in SAMPLES} == set(EVENT_TYPES)
    assert decode(Replaying(["a"]).pack()) == [12, 0, ["a"]]


# ---- records -------------------------------------------------------------------------------------------------------------


def test_every_kind_of_record_holds_one_message() -> None:
    assert MESSAGE_TYPES.keys() | NOTE_TYPES.keys() == set(Kind)
    assert MESSAGE_TYPES.keys() & NOTE_TYPES.keys() == set()
    assert EVENTS | COMMANDS | {Kind.CANCEL_REQUESTED} == MESSAGE_TYPES.keys()
    assert set() == EVENTS & COMMANDS
    assert Kind.CANCEL_REQUESTED not in EVENTS


def test_the_index_of_results_is_over_the_kinds_that_are_asked_for() -> None:
    schema = (REPOSITORY / "host/cloche/store/sqlite/sql/0001.sql").read_text()
    found = re.search(r"INDEX records_results .* WHERE kind IN \((.*)\);", schema)
    assert found is not None
    assert found[1] == ", ".join(str(int(kind)) for kind in sorted(RESULTS))


# ---- guests --------------------------------------------------------------------------------------------------------------


def c_enum(file: str, begins_with: str) -> dict[str, int]:
    """The names and values of an enum in C, the first of which is `begins_with`."""
    found = re.search(rf"enum [\w ]*\{{\s*({begins_with}\b[^}}]*)\}}", (GUEST / file).read_text())
    assert found is not None, (file, begins_with)
    values: dict[str, int] = {}
    for entry in filter(None, re.split(r"[,\s]*,\s*", found[1].strip().strip(","))):
        name, _, value = entry.partition(" = ")
        values[name] = int(value) if value else max(values.values(), default=-1) + 1
    return values


def in_c(of: str) -> dict[str, int]:
    return {name.replace("-", "_").upper(): number for name, (number, _) in rules(of).items()}


def test_both_guests_know_the_events_by_the_same_numbers() -> None:
    assert c_enum("common/wire.h", "START") == in_c("event")


def test_the_javascript_guest_numbers_commands_alike() -> None:
    calls = {name.removeprefix("CALL_"): number for name, number in c_enum("js/src/guest.h", "CALL_STEP").items()}
    assert calls | c_enum("js/src/commands.c", "LOG") == in_c("command")


def test_the_python_guest_numbers_commands_alike() -> None:
    in_header = c_enum("python/src/guest.h", "STEP")
    assert in_header.items() <= in_c("command").items()
    prelude = (GUEST / "python/prelude/_commands.py").read_text()
    found = re.search(r"^(STEP, [A-Z, ]+) = range\((\d+)\)$", prelude, re.M)
    assert found is not None
    names = dict(zip(found[1].split(", "), range(int(found[2])), strict=True))
    assert names | {"PATCHED": 11, "TAGS": 12, "DEADLINE": 13, "CONTINUE": 14} == in_c("command")
    assert "\nPATCHED, TAGS, DEADLINE, CONTINUE = 11, 12, 13, 14\n" in prelude


def test_the_python_guest_handles_every_event() -> None:
    tree = ast.parse((GUEST / "python/prelude/_loop.py").read_text())
    (handlers,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "_HANDLERS"
    )
    assert isinstance(handlers, ast.Dict)
    numbers = {key.value for key in handlers.keys if isinstance(key, ast.Constant)}
    assert numbers == {number for number, _ in rules("event").values()}


def test_faults_are_numbered_as_in_c() -> None:
    in_header = {name.removeprefix("FAULT_"): number for name, number in c_enum("common/wire.h", "FAULT_INPUT").items()}
    assert in_header == {fault.name: int(fault) for fault in Fault}
