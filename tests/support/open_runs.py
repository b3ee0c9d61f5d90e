"""A store of runs that are open, begun under guests of ABI 1, in each way in which a run can wait.

`python -m support.open_runs` (with `tests` on the path) wrote `tests/histories/open-1.db.zst`, and beside it the guests that
its runs are pinned to. It is never written again: its runs go on for ever, and end as they would have ended under the cloche
that began them. The steps hold their attempts while the store is written, and do not when it is opened again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from support import golden
from support.apps import AppOn, ManualWorld, until

import cloche
from cloche import StepContext, create_step, create_workflow, gather, sleep, start_child, wait_for_event
from cloche.store import SqliteStore
from cloche.tenancy import Policy

FILE = golden.HISTORIES / "open-1.db.zst"
WHEN = datetime(2026, 3, 28, 23, 59, 59, 123456, ZoneInfo("Europe/Berlin"))
KINDS = ("work", "refuse", "ask", "hear", "sleep", "child")
LANGUAGES = ("js", "py", "native")
RUNS = [f"{language}-{kind}" for language in LANGUAGES for kind in KINDS]

is_held = False
began: list[str] = []


class Declined(ValueError):
    """What a step raises: a class of its own, with data, a note and a cause."""

    def __init__(self, code: int) -> None:
        super().__init__(f"declined with {code}")
        self.code = code
        self.add_note("ask the bank")


async def _hold(ctx: StepContext) -> None:
    began.append(ctx.run_id)
    if is_held:
        await asyncio.Event().wait()


async def _work(data: Any, ctx: StepContext) -> Any:
    await _hold(ctx)
    ctx.set_state(when=WHEN)
    return {"when": WHEN, "data": data}


async def _refuse(data: Any, ctx: StepContext) -> Any:
    await _hold(ctx)
    try:
        raise OSError("the line is dead")
    except OSError as error:
        raise Declined(7) from error


def _ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"when": WHEN})
    return {"resumed": ctx.resume_data}


work = create_step(id="work", execute=_work)
refuse = create_step(id="refuse", execute=_refuse)
ask = create_step(id="ask", execute=_ask)


def _workflows(name: str, guest: Any) -> list[Any]:
    """One workflow of the builder for each kind but children, which it has no word for."""

    def begin(kind: str) -> Any:
        return create_workflow(id=f"{name}-{kind}", guest=guest)

    return [
        begin("work").then(work).commit(),
        begin("refuse").parallel([refuse], settle=True).commit(),
        begin("ask").then(ask).commit(),
        begin("hear").wait_for_event("paid").commit(),
        begin("sleep").sleep(86_400.0).then(work).commit(),
    ]


@cloche.workflow(id="native")
async def native(kind: str) -> Any:
    if kind == "work":
        return await gather(work("a"), sleep(1))
    if kind == "refuse":
        try:
            await refuse(None)
        except Exception as error:
            failure: Any = error
            return [failure.name, failure.message, failure.data, failure.cause.name, failure.cause.message]
    if kind == "ask":
        return await ask(None)
    if kind == "hear":
        return await wait_for_event("paid")
    if kind == "sleep":
        await sleep(days=1)
        return await work(None)
    return await start_child("py-hear", kind)


CHILD_JS = 'export default async (input) => await cloche.child("c", "js-hear", input);\n'
CHILD_PY = (
    "from cloche import start_child, workflow\n\n\n@workflow\nasync def main(input):\n"
    '    return await start_child("py-hear", input)\n'
)
WORKFLOWS = [*_workflows("js", "javascript"), *_workflows("py", "python"), native]


async def status(store: SqliteStore) -> dict[str, str]:
    return {row.key.run: row.status for row in await store.runs(limit=100)}


async def _fill(app: AppOn) -> None:
    for language in LANGUAGES:
        for kind in KINDS:
            run_id = f"{language}-{kind}"
            if language == "native":
                await app.start("native", kind, run_id=run_id)
            elif kind == "child":
                source = CHILD_JS if language == "js" else CHILD_PY
                written_in: Any = "javascript" if language == "js" else "python"
                version = await app.deploy("default", source, workflow=run_id, language=written_in)
                await app.start(version, 1, run_id=run_id)
            else:
                await app.start(run_id, 1, run_id=run_id)


async def _write(file: Path) -> None:
    global is_held
    is_held = True
    store = SqliteStore(file)
    app = AppOn(store, workflows=WORKFLOWS, world=ManualWorld("first"), policy=Policy())
    await app.__aenter__()
    await _fill(app)
    working = {run for run in RUNS if run.endswith(("work", "refuse"))}
    await until(lambda: set(began) == working)
    rest = {run for run in RUNS if run not in working and not run.endswith("child")}
    await until(lambda: status(store), lambda found: all(found[run] in ("waiting", "suspended") for run in rest))
    await until(lambda: status(store), lambda found: list(found.values()).count("waiting") == 9)  # three are children
    await app.vanish()
    await store.close()


def keep() -> None:
    golden.keep_as(FILE, lambda file: asyncio.run(_write(file)))


def unpack(file: Path) -> Path:
    """The store as a file that may be changed, its guests put back."""
    return golden.unpack_from(FILE, file)


if __name__ == "__main__":
    keep()
