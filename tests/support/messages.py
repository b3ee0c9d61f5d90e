"""Mistakes that people make, and what they are told: `tests/messages/*.txt`.

A file has the lines that somebody writes below `shop.py`, then `---- told (GRADE)`, then every word of the answer. Grades are A
(says what is wrong, where, and what to write instead) to F; they are given by a reader, and none may be below B.
`PYTHONPATH=tests python -m support.messages` renews the answers: read and grade each one that changes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cloche import Cloche

FOLDER = Path(__file__).parents[1] / "messages"
_TOLD = "---- told"
_RUN_ID = re.compile(r"\br_[a-z0-9]{20,}")
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Mistake:
    """`source` is what somebody writes, `told` what is answered, `grade` what a reader thinks of that."""

    name: str
    source: str
    grade: str
    told: str

    @classmethod
    def read(cls, file: Path) -> Mistake:
        source, _, rest = file.read_text("utf-8").partition(f"{_TOLD} (")
        grade, _, told = rest.partition(")\n")
        return cls(file.stem, source, grade, told)

    def write(self, told: str) -> None:
        (FOLDER / f"{self.name}.txt").write_text(f"{self.source}{_TOLD} ({self.grade})\n{told}", "utf-8")


def mistakes() -> list[Mistake]:
    return [Mistake.read(file) for file in sorted(FOLDER.glob("*.txt"))]


def answer(source: str, folder: Path) -> str:
    """What is said to whoever writes this: an exception, the failure of the run of `flow`, or a warning in the log."""
    file = folder / "shop.py"
    file.write_text((FOLDER / "shop.py").read_text("utf-8") + source, "utf-8")
    with _log() as lines:
        try:
            said = asyncio.run(_said(file))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            sys.modules.pop("shop", None)
    told = "\n".join([*lines, *([said] if said else [])])
    return _RUN_ID.sub("r_…", told.replace(str(folder), "…")) + "\n"


async def _said(file: Path) -> str:
    module = _imported(file)
    if hasattr(module, "main"):
        await asyncio.wait_for(module.main(), PATIENCE_S)
        return ""
    async with Cloche(workflows=[module.flow]) as app:
        run = await app.start(module.flow, getattr(module, "INPUT", None))
        result: Any = await asyncio.wait_for(run.result(), PATIENCE_S)
    if result.blocked is not None:
        return f"the run is blocked: {result.blocked['message']} To do: {result.blocked['what_to_do']}"
    if result.error is None:
        return f"the run is {result.status}: {result.result}"
    # Where in the workflow: the part of the traceback that is of this process has lines of cloche's own.
    _, _, place = (result.error.traceback or "").rpartition("Traceback (most recent call last):\n")
    return f"the run failed: {result.error}\n{place}".rstrip()


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _log() -> Iterator[list[str]]:
    """What cloche warns of meanwhile. Steps that fail are logged with tracebacks, which are shown elsewhere."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.addFilter(lambda record: "stood still" not in record.getMessage())  # of the event loop, on a slow machine
    handler.emit = lambda record: lines.append(f"{record.levelname}: {record.getMessage()}")  # type: ignore[method-assign]
    quiet, logger = logging.getLogger("cloche.run"), logging.getLogger("cloche")
    before, quiet.disabled = quiet.disabled, True
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        quiet.disabled = before


if __name__ == "__main__":
    for one in [one for one in mistakes() if not sys.argv[1:] or one.name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as made:
            one.write(answer(one.source, Path(made)))
