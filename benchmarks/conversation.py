"""A run that carries a growing conversation: what a turn costs on disk and in time, against what was said."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import workflows as w
from benchmarks.baselines import scratch, sqlite_commit_us
from benchmarks.figures import Figure, Scale
from cloche import create_step, create_workflow
from cloche.store import SqliteStore

BEFORE_BYTES = 1_000_000
TURN_BYTES = 2_000
_WORDS = [f"{number:x}{'aeiou'[number % 5]}{'nrstl'[number % 7 % 5]}" for number in range(5_000)]


def conversation(scale: Scale) -> Iterator[Figure]:
    """A hundred turns over a conversation of 1 MB, each taking the whole and giving the whole and a line."""
    turns = scale.sizes(10, 100)[-1]
    chance = random.Random(1)
    talk = [_line(chance) for _ in range(BEFORE_BYTES // TURN_BYTES)]

    def say(data: dict[str, Any]) -> dict[str, Any]:
        return {"talk": [*data["talk"], _line(chance)], "turn": data["turn"] + 1}

    workflow = (
        create_workflow(id="talk").dountil(create_step(id="say", execute=say), f"inputData.turn >= {turns}").commit()
    )

    async def spoken(store: Path) -> tuple[float, int]:
        async with w.app(store, workflow) as app:
            await w.live(app, workflow, {"talk": [], "turn": turns - 1})
            before = await _stored_bytes(store)
            begin = time.perf_counter()
            await w.live(app, workflow, {"talk": talk, "turn": 0})
            return time.perf_counter() - begin, await _stored_bytes(store) - before

    with scratch() as directory:
        seconds, stored = w.run(spoken(directory / "runs.db"))
        whole = sqlite_commit_us(directory, 2 * BEFORE_BYTES, 10) / 1000
    added = BEFORE_BYTES / turns + TURN_BYTES
    yield Figure(
        f"log bytes of a turn, {turns} turns over 1 MB", stored / turns, "B", "bytes said in it", added, 6 * added
    )
    yield Figure("turn of a conversation of 1 MB", seconds / turns * 1000, "ms", "commit of two bodies, whole", whole)


def _line(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=TURN_BYTES // 6))


async def _stored_bytes(store: Path) -> int:
    """What the log holds of bodies and records."""
    found = SqliteStore(store)
    tables = ("SELECT sum(length(data)) FROM parts", "SELECT sum(length(record)) FROM records")
    sizes = [(await found._database.select(query))[0][0] or 0 for query in tables]
    await found.close()
    return int(sum(sizes))
