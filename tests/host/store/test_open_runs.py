"""Runs that were open under guests of ABI 1 when cloche was upgraded: they end as they would have ended before.

Whatever today's messages can say beyond ABI 1 (base names of a failure, the zone of a time) is left out for these guests.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support import open_runs
from support.apps import AppOn, ManualWorld, in_loop
from support.open_runs import KINDS, LANGUAGES, WHEN
from support.stores import closed_after

from cloche.engines import CellSource, DirectEngine, SandboxEngine
from cloche.store import SqliteStore

MS = datetime(2026, 3, 28, 22, 59, 59, 123000, UTC)  # what a Date keeps of it
CET = WHEN.astimezone(timezone(timedelta(hours=1)))  # what ABI 1 keeps of it
DECLINED = {
    "data": {"code": 7},
    "name": "Declined",
    "cause": {"name": "OSError", "message": "the line is dead"},
    "message": "declined with 7",
}


def result(language: str, kind: str) -> Any:
    when = MS if language == "js" else CET
    match kind:
        case "work":
            worked = {"when": when, "data": "a" if language == "native" else 1}
            return [worked, None] if language == "native" else worked
        case "refuse" if language == "native":
            cause = DECLINED["cause"]
            assert isinstance(cause, dict)
            return ["Declined", "declined with 7", {"code": 7}, *cause.values()]
        case "refuse":
            return {"refuse": {"error": DECLINED, "status": "failed"}}
        case "ask":
            return {"resumed": {"at": when}}
        case "sleep":
            return {"when": when, "data": None if language == "native" else 1}
    return {"at": when}


ALL = [(language, kind) for language in LANGUAGES for kind in KINDS]
OF_GRAPHS = [(language, kind) for language, kind in ALL if language != "native" and kind != "child"]


@pytest.mark.parametrize(("engine", "runs"), [(SandboxEngine, ALL), (DirectEngine, OF_GRAPHS)])
def test_open_runs_end_as_they_would_have(
    tmp_path: Path, engine: type[CellSource], runs: list[tuple[str, str]]
) -> None:
    @in_loop
    async def live() -> None:
        world = ManualWorld("later")
        world.time_ms += 2 * 86_400_000
        store = SqliteStore(open_runs.unpack(tmp_path / "store.db"))
        async with (
            closed_after(store),
            AppOn(store, workflows=open_runs.WORKFLOWS, world=world, engine=engine()) as app,
        ):
            for language, kind in runs:
                run = f"{language}-{kind}"
                if kind == "ask":
                    await app.resume(run, resume_data={"at": WHEN})
                elif kind in ("hear", "child"):
                    await app.send_event(run if kind == "hear" else f"{run}.1", "paid", {"at": WHEN})
            for language, kind in runs:
                handle = await app.get(f"{language}-{kind}")
                assert (await handle.result()).unwrap() == result(language, kind)
                assert (await app.replay(handle.id)).ok
            assert (await app.verify()).ok

    live()
