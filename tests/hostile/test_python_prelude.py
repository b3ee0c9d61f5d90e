"""Every name in the modules of the Python guest, taken away: the run ends by name or goes on, and nothing else happens."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from guest.cells import NOW, SEED, pack, sequence
from support.guests import needs_python

import cloche_guest
from cloche.errors import GuestFault
from cloche.history.output import split_output, unpack_command
from cloche.sandbox import Cell, Image, Limits, base_image, load_image

LIMITS = Limits(fuel_per_event=300_000_000, memory_bytes=80 << 20)
SOURCE = """
import sys
from cloche import gather, step, workflow

MINE = ("cloche", "_cloche", "_world")

@workflow
async def main(input):
    if input is None:
        return [[name, sorted(vars(module))] for name, module in sorted(sys.modules.items()) if name.split(".")[0] in MINE]
    module, name, how = input
    if how == "gone":
        delattr(sys.modules[module], name)
    else:
        setattr(sys.modules[module], name, {"none": None, "number": 5, "call": lambda *a, **k: 5}[how])
    first = await step("a")({"x": 1})
    both = await gather(step("b")(first), step("c")([first]))
    return [first, both]
"""
ANSWERS = [pack([1, NOW + call, call, {"v": call}]) for call in (1, 2, 3)]


@cache
def image() -> Image:
    guest = cloche_guest.ensure_guest("python")
    return load_image(base_image(guest.digest, guest.wasm), SOURCE, LIMITS)


def lived(given: list[str] | None) -> list[bytes]:
    """The outputs of a run, checked as the host checks them.

    Raises:
        GuestFault: it was stopped, or said what is not in the grammar.
    """
    cell, outputs = Cell(image(), LIMITS), []
    for event in (pack([0, NOW, SEED, given, {}]), *ANSWERS):
        outputs.append(cell.turn([event]))
        commands = [unpack_command(command) for commands in split_output(outputs[-1]) for command in commands]
        if any(type(command).__name__ in ("CompleteRun", "FailRun") for command in commands):
            break
    return outputs


def names() -> list[tuple[str, str]]:
    (command, _) = sequence(lived(None)[0])
    return [(module, name) for module, found in command[1] for name in found]


@pytest.mark.parametrize("how", ["gone", "none", "number", "call"])
def test_a_name_that_is_taken_from_the_guest_s_own_modules_harms_this_run_only(how: str) -> None:
    needs_python()
    whole: list[Any] = []
    ends: dict[str, int] = {}
    found = names()
    assert len(found) > 200
    for module, name in found:
        try:
            end = "went on" if lived([module, name, how])[-1] else "silent"
        except GuestFault as fault:
            end = type(fault).__name__
        ends[end] = ends.get(end, 0) + 1
    whole += lived(["sys", "__doc__", "none"])
    assert len(whole) == 4, "a cell made afterwards is whole"
    assert ends["went on"] > 100
    assert set(ends) <= {
        "went on",
        "GuestTrapped",
        "MalformedOutput",
        "FuelExhausted",
        "MemoryExhausted",
        "StackExhausted",
    }
