"""What campaigns begin with beside the corpus: the shared vectors, and a run with every kind of event and command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fuzz import outputs
from fuzz.campaign import INPUT_MAX, Target
from guest.cells import NOW, SEED, pack

from cloche.history.check import DEPTH_MAX

VECTORS: Final = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())
    return loaded


def values() -> list[bytes]:
    """Every vector, the hostile ones too."""
    every = [bytes.fromhex(row["hex"]) for name in ("values", "hostile") for row in vectors(name)]
    return [data for data in every if len(data) <= INPUT_MAX]


# Things to do for `native/interpreter.js`.
ACTIONS: Final[list[Any]] = [
    [0, "s", "W/s", 1, [2, 3]],
    [1, "s", {"a": 1}],
    [2, "nap", 5, "value"],
    [3, "until", NOW + 5],
    [4, "h", "hook", 1],
    [5, "c", "child", {}],
    [7, [[1, "a"], [1, "a"], [2, "t", 1]]],
    [8, [[1, "a"], [12, "x"]]],
    [9, [[1, "a"], [1, "b"]]],
    [10, [[14, "line", {"a": 1}], [15, "p", 1, 0], [15, "p", "e", 1]]],
    [11, [1, "a"]],
    [12, {"thrown": True}],
    [13, "message", "cause", {"extra": 1}],
    [16, "abandoned"],
    [17, 0],
    [18, 1, 2, 3],
    [19, 1],
    [20, 65, 3],
    [21, 1],
    [22],
]
FAILURE: Final = {"name": "E", "message": "m", "data": [1], "cause": {"name": "C", "message": "c"}}
ANSWERS: Final[list[Any]] = [
    [1, NOW + 1, 1, {"r": 1}],
    [1, NOW + 1, 1, None, {"key": "state"}],
    [2, NOW + 1, 1, FAILURE],
    [3, NOW + 1, 1, {"path": "s"}],
    [4, NOW + 5, 1],
    [5, NOW + 1, 1, "received"],
    [6, NOW + 1, 1, [0, 1]],
    [6, NOW + 1, 1, [1, FAILURE]],
    [7, NOW + 1, "enough"],
    [7, NOW + 1],
    [8, NOW + 1, 1, [0, 1]],
    [9, NOW + 1, 1, {"path": "s", "data": 1}],
    [10, NOW + 1, 1, "bailed", {"key": "state"}],
]


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else "deep"


def caused(levels: int) -> dict[str, Any]:
    """A failure with so many causes within each other."""
    return {"name": "", "message": "", **({"cause": caused(levels - 1)} if levels else {})}


def deep() -> list[bytes]:
    """As deep as may be and one deeper, in and out, as values and as failures."""
    began = pack([0, NOW, SEED, [11, [1, "a"]], {}])
    thrown = [[11, [13, "m", "c", {"k": nested(levels)}]] for levels in (58, 60, 61)]
    actions = [
        *thrown,
        *([number, "p", nested(levels), which] for number in (1, 15) for levels in (62, 63) for which in (0, 1)),
    ]
    actions += [[number, nested(levels)] for number in (18, 21) for levels in (62, 63)]
    failed = [began + pack([2, NOW, 1, caused(levels)]) for levels in (DEPTH_MAX - 1, DEPTH_MAX)]
    return [*(pack([0, NOW, SEED, action, {}]) for action in actions), *failed]


def events() -> list[bytes]:
    """Each action and each answer, all of them at once, and the deepest there may be."""
    started = [pack([0, NOW, SEED, action, {"context": {"c": 1}, "state": {"s": 1}}]) for action in ACTIONS]
    answered = [pack([0, NOW, SEED, [7, ACTIONS[:7]], {}]) + pack(answer) for answer in ANSWERS]
    calls = [pack([1, NOW, 1, 1]), pack([1, NOW, 2, 1]), pack([4, NOW, 3]), pack([4, NOW, 4]), pack([5, NOW, 5, 1])]
    ends = [pack([6, NOW, 6, [0, 1]]), pack([8, NOW, 7, [1, FAILURE]])]
    return [*deep(), *started, *answered, pack([0, NOW, SEED, [7, ACTIONS[:7]], {}]) + b"".join(calls + ends)]


SEEDS: Final[Mapping[Target, Callable[[], list[bytes]]]] = {
    "values": values,
    "events": events,
    "outputs": outputs.seeds,
}
