"""The prelude of the Python guest in the Python of the tests: quick, and without a built guest. As DirectEngine has it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from cloche.engines import Code
from cloche.engines.direct.cell import DirectCell
from cloche.engines.direct.prelude import prelude
from cloche.history.values import decode, encode_plain, plain


class LoopCell:
    """One run. `turn` is that of an engine's cell; a fault is raised."""

    def __init__(self, source: str) -> None:
        self.cell = DirectCell(prelude(), Code("w", "0" * 64, source, {}, "", "python"), source)

    def turn(self, events: Sequence[bytes]) -> bytes:
        return self.cell.turn(events)

    def deliver(self, event: list[Any]) -> list[Any]:
        """The commands that follow an event, as the host reads them."""
        output = self.turn([encode_plain(plain(event))])
        commands: list[Any] = decode(b"\x9f" + output + b"\xff")
        assert commands.pop() is None
        return commands


def part(name: str) -> ModuleType:
    """A module of the prelude."""
    return prelude().module(name)
