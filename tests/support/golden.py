"""A store with a run of each kind, as it is kept under `tests/histories/` for each version of the store.

`python -m support.golden N` (with `tests` on the path) writes `tests/histories/store-N.db.zst` with today's cloche, and beside
it the guest that its runs are pinned to. Stores that are there are never written again: they open and replay for ever.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from support.apps import ManualWorld, until

from cloche import Cloche, StepContext, clone_step, create_step, create_workflow, path

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

HISTORIES = Path(__file__).parents[1] / "histories"


def _refuse(_: Any) -> Any:
    raise ValueError("out of stock")


def _ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"ask": "how many?"})
    return {"v": data["v"] + ctx.resume_data["add"]}


def _talk(data: Any) -> Any:
    """One turn of a conversation that is passed on whole."""
    turn = len(data["talk"])
    line = f"turn {turn}: " + " ".join(f"{word * turn} of {word} sheep in {word % 7} flocks;" for word in range(100))
    return {"talk": [*data["talk"], line]}


add = create_step(id="add", execute=lambda data: {"v": data["v"] + 1})
double = create_step(id="double", execute=lambda data: {"v": data["v"] * 2})
refuse = create_step(id="refuse", execute=_refuse)
ask = create_step(id="ask", execute=_ask)
talk = create_step(id="talk", execute=_talk)

left, right = clone_step(add, id="left"), clone_step(double, id="right")
plain = create_workflow(id="plain").then(add).parallel([left, right]).map(path("inputData.right")).then(double).commit()
inner = create_workflow(id="inner").then(add).then(double).commit()
nested = create_workflow(id="nested").then(inner).map("[inputData, inputData]").foreach(left, concurrency=2).commit()
failing = create_workflow(id="failing").then(add).then(refuse).commit()
asking = create_workflow(id="asking").then(add).then(ask).then(double).commit()
sleeping = create_workflow(id="sleeping").then(add).sleep(86_400.0).then(double).commit()
hearing = create_workflow(id="hearing").wait_for_event("paid").commit()
talking = create_workflow(id="talking").dountil(talk, "inputData.talk.length >= 12").commit()
WORKFLOWS = [plain, nested, failing, asking, sleeping, hearing, talking]


async def fill(app: Cloche, world: ManualWorld) -> None:
    """One run of each kind, one after another: the same records each time."""
    for workflow in (plain, nested, failing):
        await (await app.start(workflow, {"v": 1}, run_id=workflow.id)).result()
        world.time_ms += 1000
    await (await app.start(talking, {"talk": []}, run_id="talking")).result()
    for run_id in ("asking", "answered", "canceled"):
        await (await app.start(asking, {"v": 1}, run_id=run_id)).result()
        world.time_ms += 1000
    await app.resume("answered", resume_data={"add": 5})
    await app.cancel("canceled")
    await (await app.get("canceled")).result()
    await app.start(sleeping, {"v": 1}, run_id="sleeping")
    await app.start(hearing, None, run_id="hearing")
    await (await app.start(plain, {"v": 2}, run_id="deleted")).result()
    await until(lambda: app.is_idle)
    await app.delete("deleted")


def write(file: Path) -> None:
    async def main() -> None:
        world = ManualWorld()
        async with Cloche(file, workflows=WORKFLOWS, world=world) as app:
            await fill(app, world)

    asyncio.run(main())


def keep(version: int) -> None:
    """Write the golden store of this version. The guest is kept beside it, once for all stores that have the same one."""
    keep_as(HISTORIES / f"store-{version}.db.zst", write)


def keep_as(target: Path, write: Callable[[Path], None]) -> None:
    if target.exists():
        raise SystemExit(f"{target} is there: what is golden is never written again")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        write(file)
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            for digest, data in db.execute("SELECT digest, data FROM blobs WHERE length(data) > 100000").fetchall():
                (HISTORIES / f"{digest[:16]}.wasm.zst").write_bytes(zstd.compress(data, 19))
            db.execute("DELETE FROM blobs WHERE length(data) > 100000")
            db.execute("VACUUM")
        target.write_bytes(zstd.compress(file.read_bytes(), 19))


def unpack(version: int, file: Path) -> Path:
    """The golden store of a version as a file that may be changed, its guests put back."""
    return unpack_from(HISTORIES / f"store-{version}.db.zst", file)


def unpack_from(kept: Path, file: Path) -> Path:
    file.write_bytes(zstd.decompress(kept.read_bytes()))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for packed in sorted(HISTORIES.glob("*.wasm.zst")):
            data = zstd.decompress(packed.read_bytes())
            if db.execute("SELECT 1 FROM blobs WHERE instr(data, CAST(? AS BLOB))", (_digest(data),)).fetchone():
                db.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (_digest(data), data))
    return file


def _digest(data: bytes) -> str:
    from hashlib import blake2b

    return blake2b(data, digest_size=32).hexdigest()


if __name__ == "__main__":
    keep(int(sys.argv[1]))
