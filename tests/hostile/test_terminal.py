"""What a tenant writes, on the terminal of whoever looks at it: every command shows it, and none passes it on."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hostile.platform import Submitted, echo
from support.apps import in_loop, until
from support.commands import MATH, Ran, cloche

from cloche import Cloche, Limits, create_workflow
from cloche.engines import SandboxEngine
from cloche.history.ids import run_key

# A title, the screen cleared, C1's own introducer, a link, text that runs backwards, marks that nobody sees, a bell, a return.
EVIL = "\x1b]0;owned\x07 \x1b[2J \x9b31m \x1b]8;;http://evil\x1b\\ \u202eevil\u202c \u2066x\u2069 \u200b \r\n\x00 owned"
SOURCE = f"""
const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
const EVIL = {EVIL!r};
export default async function (input) {{
  console.log(EVIL); console.error({{ [EVIL]: EVIL }});
  cloche.entered("W", {{ [EVIL]: [EVIL] }});
  const answer = await step("echo")({{ [EVIL]: EVIL, list: [EVIL] }});
  cloche.left("W", [1, Object.assign(new Error(EVIL), {{ name: EVIL, data: EVIL }})]);
  if (input === "fails") throw Object.assign(new Error(EVIL), {{ name: EVIL, data: {{ [EVIL]: EVIL }} }});
  if (input === "waits") await cloche.hook("h", "signed", EVIL);
  return {{ [EVIL]: answer }};
}}
"""


@pytest.fixture(scope="module")
def evil_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose runs wrote what a terminal obeys wherever they could: one of each end."""
    file = tmp_path_factory.mktemp("evil") / "runs.db"

    @in_loop
    async def live() -> None:
        engine = Submitted(SandboxEngine(Limits()), SOURCE)
        workflow = create_workflow(id="attack").then(echo).commit()
        async with Cloche(file, workflows=[workflow], engine=engine) as app:
            for how in ("succeeds", "fails", "waits"):
                run = await app.start("attack", how, run_id=how, initial_state={EVIL: EVIL})
                if how != "waits":
                    await run.result()
            key = run_key("waits", "default")
            await until(lambda: app._running.store.run(key), lambda row: row is not None and row.status == "waiting")

    live()
    return file


TYPED = EVIL.replace("\x00", "")  # no process can be given that
RUNS = ("succeeds", "fails", "waits")
COMMANDS: list[tuple[str, ...]] = [
    ("runs",),
    *((command, run) for command in ("show", "log", "replay", "usage") for run in RUNS),
    ("replay", "succeeds", "--with", MATH),
    ("verify",),
    ("check", MATH),
    ("usage",),
    ("prune", "--older-than", "0s", "--dry-run"),
    ("doctor",),
    ("show", TYPED),
    ("log", f"x{TYPED}"),
    ("runs", "--tenant", TYPED),
    ("runs", "--workflow", TYPED),
    ("resume", "waits", "--step", TYPED, "--data", "1"),
    ("resume", "waits", "--label", TYPED, "--data", "1"),
    ("resume", "waits", "--data", TYPED),
    ("event", "fails", TYPED, "--data", "1"),
    ("explain", TYPED),
    ("bench", TYPED),
    ("graph", TYPED),
    ("graph", f"{TYPED}.json"),
    ("codegen", f"nowhere.py:{TYPED}"),
    ("import", TYPED),
    ("cancel", TYPED),
    ("event", "waits", TYPED, "--data", '"x"'),
    ("cancel", "waits"),
]


@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join(command[:2]).encode("ascii", "replace").decode()
)
def test_no_command_passes_on_what_a_terminal_would_obey(
    evil_store: Path, command: tuple[str, ...], as_json: bool
) -> None:
    has_store = command[0] not in ("explain", "bench", "graph", "codegen")
    ran = cloche(*command, *(["--store", str(evil_store)] if has_store else []), *(["--json"] if as_json else []))
    assert obeyed(ran) == []
    assert ran.code != 70, ran.err  # a fault in cloche itself


def test_what_was_written_is_shown(evil_store: Path) -> None:
    for run in RUNS:
        assert "owned" in cloche("log", run, "--store", str(evil_store)).out


def obeyed(ran: Ran) -> list[str]:
    """The characters of an output that do something else than show."""
    odd = {
        c for c in ran.out + ran.err if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    return sorted(map(repr, odd))
