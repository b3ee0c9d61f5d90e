"""What DirectEngine and SandboxEngine answered to 5,000 random graphs, kept: whoever changes an engine is held against it.

`answers.txt` has a line for each seed: a digest of all commands of one run as the JavaScript guest, and of the same run as the
Python guest where the graph has no code strings. `python -m host.engines.answers` writes it anew, from both engines, which have
to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from host.engines.tangles import Tangler
from host.engines.twins import Script, answer, code_of, commands_of, engines, opened

from cloche.engines import Cell, CellSource, Language
from cloche_codegen import Workflow

FILE = Path(__file__).with_name("answers.txt")
GRAPHS = 5_000
NONE = "-" * 16


def graph(seed: int) -> Workflow:
    """Every other one has code strings."""
    return Tangler(seed, codes=seed % 2 == 0).workflow()


def languages(seed: int) -> Sequence[Language]:
    return ("javascript",) if seed % 2 == 0 else ("javascript", "python")


def kept() -> list[list[str]]:
    """[as JavaScript, as Python], by seed."""
    return [line.split() for line in FILE.read_text("ascii").splitlines()]


class Told:
    """Cells of the same code that are told the same. `said` are their outputs, or the name of the fault that ended them."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.said: list[list[bytes]] = [[] for _ in cells]
        self.fault: str | None = None

    def tell(self, message: bytes) -> list[list[Any]]:
        outputs = [answer(cell, message) for cell in self.cells]
        for said, output in zip(self.said, outputs, strict=True):
            said.append(output.encode() if isinstance(output, str) else output)
        first = outputs[0]
        self.fault = first if isinstance(first, str) else None
        return [] if isinstance(first, str) else commands_of(first)


def digests(seed: int, language: Language, *of: CellSource, workflow: Workflow | None = None) -> list[str]:
    """That of the run with this seed, on each engine."""
    from host.engines.test_twins import VALUES

    code = code_of(workflow or graph(seed), language)
    script = Script(seed, VALUES)
    told = Told([opened(engine, code) for engine in of])
    state = script.random.choice([{}, {"n": 1, "k": "K", "list": [1]}])
    script.live(told, script.value(), state=state, context={"user": script.value(), "go": True})  # type: ignore[arg-type]
    return [blake2b(b"\0".join(said), digest_size=8).hexdigest() for said in told.said]


def main() -> None:
    sandbox, direct = engines()
    lines = []
    for seed in range(GRAPHS):
        found = []
        for language in languages(seed):
            one, other = digests(seed, language, direct, sandbox)
            assert one == other, f"the engines differ at seed {seed} as {language}"
            found.append(one)
        lines.append(" ".join([*found, NONE][:2]))
    FILE.write_text("\n".join(lines) + "\n", "ascii")


if __name__ == "__main__":
    main()
