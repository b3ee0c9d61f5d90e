"""Code that a program wrote: one call gives what came of it, and what is wrong comes as data with line and what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop, until
from support.guests import needs_python

from cloche import Cloche, Evaluation, Grant, HeldBack, Policy, RunFailed, SyncCloche, UsageError, step
from cloche.client import evaluation

ADDS = """
async def main(n):
    total = 0
    for one in range(3):
        total = await add(total, one)
    print("the total is", total)
    return {"total": total, "n": n}
"""


@step
async def add(one: int, other: int = 1) -> int:
    return one + other


@step(id="send-mail", retries=0)
async def send_mail(to: str) -> str:
    raise ValueError(f"there is no {to}")


async def evaluated(source: str, input_data: Any = 5, **options: Any) -> Evaluation:
    needs_python()
    async with Cloche() as app:
        return await app.evaluate("acme", source, input_data, **{"steps": [add, send_mail], **options})


@in_loop
async def test_one_call_deploys_runs_and_returns() -> None:
    one = await evaluated(ADDS)
    assert (one.ok, one.status, one.result, one.problem) == (True, "success", {"total": 3, "n": 5}, None)
    assert one.unwrap() == one.result
    assert one.printed == ["the total is 3"]
    assert (one.usage.steps, one.usage.turns) == (3, 4)
    assert one.usage.fuel > 0
    assert json.loads(json.dumps(one.to_data()))["result"] == {"total": 3, "n": 5}


@in_loop
async def test_a_workflow_that_is_marked_is_taken_as_it_is() -> None:
    source = "import cloche\n\n\n@cloche.workflow\nasync def mine(n):\n    return await cloche.step('add')(n)\n"
    assert (await evaluated(source)).unwrap() == 6


@in_loop
async def test_javascript_is_evaluated_too() -> None:
    async with Cloche() as app:
        source = "export default async (n) => {\n  return await add(n, 2);\n};"
        assert (await app.evaluate("acme", source, 5, steps=[add], language="javascript")).unwrap() == 7
        wrong = await app.evaluate("acme", source.replace("add", "sum"), 5, steps=[add], language="javascript")
    assert wrong.problem is not None
    assert (wrong.problem.name, wrong.problem.line) == ("ReferenceError", 2)
    assert wrong.problem.what_to_do.endswith("can be called by name: add")


@pytest.mark.parametrize(
    ("source", "status", "name", "line", "to_do"),
    [
        ("async def main(n):\n    return (n\n", "refused", "SyntaxError", 2, "correct the line"),
        ("import requests\n", "refused", "ModuleNotFoundError", 1, "use Python's standard library or a step"),
        ("def main(n):\n    return n\n", "refused", "TypeError", None, "write 'async def main(…)'"),
        ("1 / 0\nasync def main(n): ...\n", "refused", "ZeroDivisionError", 1, "mend this line"),
        ("async def main(n):\n    return await serch(n)\n", "failed", "NameError", 2, "only the steps that were given"),
        ("async def main(n):\n    return await add()\n", "failed", "TypeError", 2, "give the call what it takes"),
        ("async def main(n):\n    return await add('x')\n", "failed", "InvalidInput", 2, "what its parameters take"),
        ("async def main(n):\n    return 1 + add(n)\n", "failed", "TypeError", 2, "await the step"),
        (
            "async def main(n):\n    return await send_mail('bob')\n",
            "failed",
            "ValueError",
            2,
            "mend this line, or catch",
        ),
        ("def at(x):\n    return x['a']\n\nasync def main(n):\n    return at({})\n", "failed", "KeyError", 2, "mend"),
        ("async def main(n):\n    return open('/etc/passwd')\n", "failed", "OutsideError", 2, "use a step for what is"),
        (
            "from cloche import step\nasync def main(n):\n    await step('pay')(n)",
            "failed",
            "NotGranted",
            3,
            "call only the steps that were given: add, send_mail",
        ),
        ("async def main(n):\n    while True: pass\n", "failed", "FuelExhausted", None, "end the loop"),
        (
            "import asyncio\nasync def main(n):\n    await asyncio.Event().wait()\n",
            "failed",
            "Deadlock",
            None,
            "this waits for something that never comes",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) and " " not in one else "",
)
def test_what_is_wrong_is_data_with_line_and_what_to_do(
    source: str, status: str, name: str, line: int | None, to_do: str
) -> None:
    @in_loop
    async def check() -> None:
        one = await evaluated(source)
        problem = one.problem
        assert problem is not None
        assert (one.status, one.result, problem.name, problem.line) == (status, None, name, line)
        assert problem.what_to_do.startswith(to_do) or to_do in problem.what_to_do
        assert problem.text == ("" if line is None else source.split("\n")[line - 1].strip())
        assert "<workflow>" not in problem.what
        assert json.loads(json.dumps(problem.to_data()))["what_to_do"] == problem.what_to_do
        with pytest.raises(RunFailed, match=name) as raised:
            one.unwrap()
        assert raised.value.problem == problem

    check()


@in_loop
async def test_a_step_that_fails_is_named() -> None:
    one = await evaluated("async def main(n):\n    await send_mail('bob')\n")
    assert one.problem is not None
    assert one.problem.step == "send-mail"
    assert str(one.problem) == (
        "line 2: ValueError: there is no bob\n    await send_mail('bob')\n"
        "To do: mend this line, or catch the error where something else can be done."
    )


@in_loop
async def test_the_policy_of_the_call_bounds_the_run() -> None:
    policy = Policy.strict().model_copy(update={"fuel_per_run": 100_000})
    one = await evaluated(ADDS, policy=policy)
    assert one.problem is not None
    assert (one.status, one.problem.name) == ("failed", "LimitExceeded")
    allowed = Policy.strict(steps=[Grant(step="add", arguments={"one": (0,)})])
    kept = await evaluated("async def main(n):\n    return await add(n)\n", policy=allowed, steps=[])
    assert kept.problem is not None  # granted for nothing: 'steps=' has no such name, and the input is another
    assert kept.problem.name == "NameError"


@in_loop
async def test_a_text_that_is_known_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_python()
    async with Cloche() as app:
        assert (await app.evaluate("acme", ADDS, 5, steps=[add])).ok
        read: list[int] = []
        lanes = app._running.services.lanes
        monkeypatch.setattr(lanes, "read", lambda *given: read.append(1))
        assert (await app.evaluate("acme", ADDS, 6, steps=[add])).unwrap()["n"] == 6
        assert read == []
        assert len(await app.tenant("acme").versions()) == 1


@in_loop
async def test_no_more_texts_stay_deployed_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_python()
    monkeypatch.setattr(evaluation, "KEPT_MAX", 2)
    async with Cloche() as app:
        for number in range(4):
            assert (await app.evaluate("acme", f"async def main():\n    return {number}\n")).unwrap() == number
        assert len(await app.tenant("acme").versions()) == 2
        assert (await app.verify()).ok


@in_loop
async def test_the_run_is_durable_and_its_id_means_code_and_input(tmp_path: Path) -> None:
    needs_python()
    store = str(tmp_path / "s.db")
    async with Cloche(store) as app:
        first = await app.evaluate("acme", ADDS, 5, steps=[add], run_id="r-1")
    async with Cloche(store, steps=[add]) as app:
        again = await app.evaluate("acme", ADDS, 5, steps=[add], run_id="r-1")
        assert (again.result, again.usage) == (first.result, first.usage)
        for source, value in ((ADDS + "# another\n", 5), (ADDS, 6)):
            with pytest.raises(UsageError, match="exists already"):
                await app.evaluate("acme", source, value, steps=[add], run_id="r-1")
        report = await app.tenant("acme").replay("r-1")
        assert report.divergence is None


@in_loop
async def test_a_run_goes_on_after_a_crash_under_its_own_policy(tmp_path: Path) -> None:
    needs_python()
    store = str(tmp_path / "s.db")
    source = "import cloche\nasync def main(n):\n    return await add(await cloche.wait_for_event('go'), n)\n"
    async with Cloche(store) as app:
        acme = app.tenant("acme")
        asking = asyncio.ensure_future(acme.evaluate(source, 5, steps=[add], run_id="r-2"))
        await until(lambda: acme.list(status="waiting"))
    with pytest.raises(UsageError, match="was closed"):
        await asking
    async with Cloche(store, steps=[add]) as app:
        acme = app.tenant("acme")
        await acme.send_event("r-2", "go", 2)
        assert (await acme.evaluate(source, 5, steps=[add], run_id="r-2")).unwrap() == 7


@in_loop
async def test_what_is_the_hosts_fault_is_raised() -> None:
    needs_python()
    async with Cloche() as app:
        with pytest.raises(UsageError, match="steps= takes steps"):
            await app.evaluate("acme", ADDS, 5, steps=[print])  # type: ignore[list-item]
        await app.tenant("acme").suspend("a bill is open")
        with pytest.raises(HeldBack):
            await app.evaluate("acme", ADDS, 5, steps=[add])


def test_it_is_there_without_async() -> None:
    needs_python()
    with SyncCloche() as app:
        assert app.evaluate("acme", ADDS, 5, steps=[add]).unwrap() == {"total": 3, "n": 5}
        assert app.tenant("acme").evaluate("async def main():\n    return 1\n").unwrap() == 1
