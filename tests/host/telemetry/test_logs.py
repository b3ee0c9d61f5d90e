"""Logs as JSON: each line of a step has the ids of its run, and of its trace."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from support.apps import AppOn, in_loop

from cloche import StepContext, create_step, create_workflow
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore
from cloche.telemetry import JsonLines, Traces


@in_loop
async def test_what_a_step_logs_has_the_ids_of_its_run_and_trace(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonLines().format(record)))

    def say(value: Any, ctx: StepContext) -> Any:
        logging.getLogger("mine").warning("größe %d", 17)
        ctx.log.warning("of the context")
        return value

    handler = Kept()
    logging.getLogger().addHandler(handler)
    try:
        flow = create_workflow(id="says").then(create_step(id="say", execute=say)).commit()
        provider = TracerProvider()
        watching = [Traces(provider)]
        async with AppOn(MemoryStore(), workflows=[flow], world=SystemWorld(), observers=watching) as app:
            await (await app.start("says", 1, run_id="r1")).result()
            logging.getLogger("mine").warning("outside")
    finally:
        logging.getLogger().removeHandler(handler)
    said = {line["message"]: line for line in lines}
    ids = {"tenant": "default", "run": "r1", "step": "say", "attempt": 1}
    for message in ("größe 17", "of the context"):
        assert said[message].items() >= {**ids, "level": "warning"}.items()
        assert len(said[message]["trace_id"]) == 32
    assert not said["outside"].keys() & {"run", "trace_id"}


def test_serve_logs_lines_of_json(tmp_path: Path) -> None:
    """The real process: a step that fails is one object a line, with the traceback in it."""
    import subprocess
    import sys

    flow = tmp_path / "flow.py"
    flow.write_text(
        "from cloche import create_step, create_workflow\n"
        "def refuse(value):\n    raise ValueError('no')\n"
        "workflow = create_workflow(id='refuses').then(create_step(id='refuse', execute=refuse)).commit()\n"
    )
    store = str(tmp_path / "runs.db")
    started = subprocess.run(
        [
            sys.executable,
            "-m",
            "cloche.cli",
            "run",
            f"{flow}:workflow",
            "--input",
            "1",
            "--store",
            store,
            "--run-id",
            "r1",
        ],
        capture_output=True,
        text=True,
    )
    assert started.returncode == 1
    worker = [sys.executable, "-m", "cloche.cli", "worker", f"{flow}:workflow", "--store", store, "--once"]
    retried = subprocess.run([sys.executable, "-m", "cloche.cli", "retry", "r1", "--store", store], capture_output=True)
    assert retried.returncode in (0, 75)
    done = subprocess.run([*worker, "--log-format", "json"], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    [failed] = [line for line in lines if "ValueError: no" in line["message"]]
    assert (failed["logger"], failed["level"]) == ("cloche.run", "warning")
    assert (failed["step"], failed["attempt"]) == ("refuse", 1)
