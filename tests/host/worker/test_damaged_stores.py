"""Every byte of a store with open runs, flipped: a worker on it gives the right results, or says by name what it cannot do.

The places are drawn from CLOCHE_SEED, for CLOCHE_TORTURE_S seconds: a slice in `make test`, more in `make torture`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.stores import unsynced_file

from cloche import Cloche, DirectEngine, StepContext, Workflow, create_workflow, step
from cloche.errors import ClocheError

SEED = int(os.environ.get("CLOCHE_SEED", "20261123"))
BUDGET_S = float(os.environ.get("CLOCHE_TORTURE_S", "4"))
LIFE_S_MAX = 20.0
PAGE_BYTES, TREE_PAGES = 4096, (2, 5, 10, 13)  # sqlite.org/fileformat2.html, section 1.6
RUNS = {"ended": 8, "first": 9, "second": 10}  # and what comes of them in the end


@step(id="double")
async def double(data: Any) -> Any:
    return data * 2


@step(id="ask")
async def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"for": data})
    return data + ctx.resume_data


def workflow() -> Workflow:
    return create_workflow(id="w").then(double).then(ask).commit()


@dataclass(frozen=True)
class Store:
    data: bytes
    file: Path

    def lives(self, data: bytes) -> list[str]:
        """What a worker makes of each run of a store with these bytes: "right", or the name of an error."""
        for rest in ("-wal", "-shm", ".lock", "-checkpoints"):
            Path(f"{self.file}{rest}").unlink(missing_ok=True)
        self.file.write_bytes(data)
        try:
            return asyncio.run(asyncio.wait_for(_lives(self.file), LIFE_S_MAX))
        except ClocheError as error:
            return [type(error).__name__]


async def _lives(file: Path) -> list[str]:
    async with _app(file) as app:
        return [await _life(app, run, value) for run, value in RUNS.items()]


async def _life(app: Cloche, run_id: str, value: int) -> str:
    try:
        run = await app.get(run_id)
        if await run.status() == "suspended":
            await run.resume(resume_data=value % 8)
        result = await run.result()
        if result.status == "blocked":
            assert result.blocked is not None
            assert result.blocked["what_to_do"]
            return f"blocked: {result.blocked['reason']}"
        got = result.unwrap()
    except ClocheError as error:
        return type(error).__name__
    assert got == value, f"run {run_id} ended with {got}"
    return "right"


def _app(file: Path) -> Cloche:
    return Cloche(file, workflows=[workflow()], engine=DirectEngine(), handle_sigterm=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("damaged")

    async def make() -> None:
        async with _app(folder / "whole.db") as app:
            for run_id in RUNS:
                assert (await (await app.start("w", 4, run_id=run_id)).result()).status == "suspended"
            await (await app.get("ended")).resume(resume_data=0)
            assert (await (await app.get("ended")).result()).unwrap() == 8

    asyncio.run(make())
    with unsynced_file() as file:
        yield Store((folder / "whole.db").read_bytes(), file)


def _places(data: bytes) -> list[int]:
    """The bytes of all rows and of what leads to them: not what is free in a page, nor the pages that a guest alone fills."""
    trees = [at for at in range(0, len(data), PAGE_BYTES) if at == 0 or data[at] in TREE_PAGES]
    return [at for page in trees for at in range(page, page + PAGE_BYTES) if data[at]]


def test_a_whole_store_gives_the_right_results(store: Store) -> None:
    assert store.lives(store.data) == ["right"] * len(RUNS)


def test_no_flipped_byte_makes_a_worker_stumble_or_err(store: Store) -> None:
    chance, seen, end = random.Random(SEED), Counter[str](), time.monotonic() + BUDGET_S
    places = _places(store.data)
    for at in chance.sample(places, len(places)):
        bits = chance.choice((0xFF, 1 << chance.randrange(8)))
        damaged = store.data[:at] + bytes([store.data[at] ^ bits]) + store.data[at + 1 :]
        try:
            seen.update(store.lives(damaged))
        except BaseException as error:
            error.add_note(f"byte {at} with {bits:#x}, CLOCHE_SEED={SEED}")
            raise
        if time.monotonic() > end:
            break
    print(f"CLOCHE_SEED={SEED}: {seen.total()} answers from {len(places)} places: {dict(seen)}")
    assert seen["right"]
