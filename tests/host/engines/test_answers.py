"""The engines answer as they always have: 5,000 random graphs, and what was answered to them (`answers.txt`).

That stands behind an engine's own tests: with it a change of the prelude, of the emitters or of `lower` shows even where both
engines change alike. Faults are planted here to see that it does.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from host.engines.answers import GRAPHS, digests, kept, languages
from host.engines.twins import engines
from support.guests import needs_python

from cloche.engines import Code
from cloche.engines.direct.cell import DirectCell
from cloche.engines.direct.prelude import Prelude, folder
from cloche_codegen import Graph

LONG = bool(os.environ.get("CLOCHE_LONG"))
PORTIONS = 10
SLICE = GRAPHS if LONG else 300
TRIED = (*range(1, 600, 2), 629, 1385)  # graphs to which a fault has to show: seeds of those without code strings


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_answers_are_those_that_were_kept(portion: int) -> None:
    needs_python()
    answers = kept()
    assert len(answers) == GRAPHS
    for seed in range(portion, SLICE, PORTIONS):
        for language, wanted in zip(languages(seed), answers[seed], strict=False):
            assert set(digests(seed, language, *engines()[0 if LONG else 1 :])) == {wanted}, (
                f"seed {seed} as {language}"
            )


# ---- planted faults ----

# File, what stands there, what stands there instead: each is one that somebody could make.
FAULTS = [
    ("_blocks", "if self.failed > self.tolerated:", "if self.failed >= self.tolerated:"),
    ("_blocks", "elif self.quiet == 0:", "elif True:"),
    ("_blocks", "self.tolerated = min(self.tolerated, count - min_successes)", "self.tolerated = count"),
    ("_blocks", "and self.active + self.quiet < self.width:", "and self.active < self.width:"),
    ("_blocks", "elif self.failed > 0 and self.waits:", "elif self.failed > 0:"),
    ("_blocks", "self.close(tell_host=True)", "self.close(tell_host=False)"),
    ("_loop", "dict.update(_state, patch)", "dict.clear(_state), dict.update(_state, patch)"),
    ("flow", 'timer = sleep(f"{path}/timeout", ms)', 'timer = sleep(f"{path}/timeout", ms + 1)'),
    ("_values", "return value == value and value != 0", "return value != 0"),
    ("_values", "if value is None or value is MISSING or value is False:", "if value is MISSING or value is False:"),
    ("_values", 'return "[" + ",".join(map(json, value)) + "]"', 'return "[" + ", ".join(map(json, value)) + "]"'),
    ("flow", 'await body(value, f"{path}[{turn}]")', 'await body(value, f"{path}[{turn - 1}]")'),
    ("flow", "made = bail.value", "made = None"),
    ("flow", "taken = [arm for arm in arms if", "taken = [arm for arm in arms[::-1] if"),
    ("flow", "if not isinstance(value, (dict, list, tuple)):", "if value is None:"),
    ("python", '"settled" if value.settled else "get"', '"get"'),
    ("python", 'options += ["settle=True"] if statement.settle else []', "pass"),
    ("python", "elif width != 1:", "elif width > 2:"),
    ("lower", 'until=node.kind == "dountil"', "until=True"),
    (
        "lower",
        "yield body.id, t.ArmResult(node.id, body.id, settled)",
        "yield body.id, t.ArmResult(node.id, body.id, False)",
    ),
]


class Faulty:
    """DirectEngine with a fault in the prelude, the emitter or `lower`."""

    def __init__(self, file: str, before: str, after: str) -> None:
        self._fault = before, after
        modules = [import_module(f"cloche_codegen.{name}") for name in ("lower", "python")]
        self._lower, self._python = (
            self._changed(one) if one.__name__.endswith(f".{file}") else one for one in modules
        )
        self._prelude = Prelude(lambda name: self._text(folder() / "prelude" / f"{file}.py") if name == file else "")

    def _text(self, file: Path) -> str:
        text = file.read_text("utf-8")
        assert text.count(self._fault[0]) == 1
        return text.replace(*self._fault)

    def _changed(self, module: Any) -> Any:
        made: Any = ModuleType(module.__name__)
        made.__package__ = module.__package__
        exec(compile(self._text(Path(module.__file__)), module.__file__, "exec"), vars(made))
        return made

    def limits(self) -> Any:
        return engines()[1].limits()

    def open(self, code: Code, *_: Any) -> DirectCell:
        module = self._lower.lower(Graph.from_json(code.graph))
        return DirectCell(self._prelude, code, self._python.python(module).code)


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_planted_faults_are_caught(fault: tuple[str, str, str]) -> None:
    faulty, answers = Faulty(*fault), kept()
    for seed in TRIED:
        try:
            if digests(seed, "javascript", faulty) != answers[seed][:1]:  # type: ignore[arg-type]
                return
        except Exception:
            return
    raise AssertionError(f"nobody has seen that {fault[1]!r} became {fault[2]!r}")
