"""What a suspended run is given is held against what it asks for: at once where that is known; else `show` says the refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import cloche

ASKS = """
from pydantic import BaseModel
from cloche import StepContext, create_workflow, step

class Answer(BaseModel):
    ok: bool
{more}
@step(id="ask", resume_schema=Answer)
async def ask(data: int, ctx: StepContext) -> int:
    if ctx.resume_data is None:
        ctx.suspend({{"question": "may it go on?"}})
    return data + ctx.resume_data.ok

@step(id="look")
async def look(data: int, ctx: StepContext) -> int:
    if not ctx.state.get("looked"):
        ctx.set_state(looked=True)
        ctx.suspend()
    return data

asks = create_workflow(id="asks", input_schema=int).then(ask).commit()
looks = create_workflow(id="looks", input_schema=int).then(look).commit()
"""


def written(folder: Path, more: str = "") -> Path:
    file = folder / f"flows{len(more)}.py"
    file.write_text(ASKS.format(more=more))
    return file


@pytest.fixture
def waiting(store: str, tmp_path: Path) -> str:
    """The store, with r1 that waits for an Answer, and r2 that waits for whatever it is given."""
    file = written(tmp_path)
    for id, name in (("r1", "asks"), ("r2", "looks")):
        assert cloche("run", f"{file}:{name}", "--input", "1", "--run-id", id, "--store", store).code == 75
    return store


def test_data_that_does_not_fit_is_refused_with_its_place(waiting: str) -> None:
    given = cloche("resume", "r1", "--data", '{"ok": "perhaps"}', "--store", waiting)
    assert given.code == 2
    assert "the resume data of step 'ask' does not fit its schema: ok: Input should be a valid boolean" in given.err
    error = cloche("resume", "r1", "--data", "{}", "--store", waiting, "--json").json()["error"]
    assert (error["code"], "ok: Field required" in error["message"]) == ("invalid-input", True)
    assert cloche("show", "r1", "--store", waiting, "--json").json()["on_their_way"] == []


def test_no_data_is_said_where_some_is_asked_for(waiting: str) -> None:
    given = cloche("resume", "r1", "--store", waiting)
    assert given.code == 2
    assert "step 'ask' waits for data, and none was given: it takes {" in given.err
    given = cloche("resume", "r2", "--store", waiting)
    assert (given.code, "null (no --data was given) for look" in given.out) == (0, True)


def test_a_null_that_is_given_is_left_to_the_step(waiting: str) -> None:
    assert cloche("resume", "r1", "--data", "null", "--store", waiting).code == 0


def test_what_a_worker_refuses_later_is_said_by_show(waiting: str, tmp_path: Path) -> None:
    """A worker whose step asks for more than it did when the run began: the run's own schema is not the last word."""
    assert cloche("resume", "r1", "--data", '{"ok": true}', "--store", waiting).code == 0
    assert cloche("worker", f"{written(tmp_path, '    by: str')}:asks", "--store", waiting, "--once").code == 75
    shown = cloche("show", "r1", "--store", waiting, "--json").json()
    assert shown["reason"]["refused"] == "the resume data of step 'ask' does not fit its schema: by: Field required"
    assert (shown["status"], shown["on_their_way"]) == ("suspended", [])
    line = "last answer refused: the resume data of step 'ask' does not fit its schema: by: Field required"
    assert line in cloche("show", "r1", "--store", waiting).out.splitlines()
