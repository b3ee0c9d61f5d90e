"""A run that is crashed everywhere ends as the one that is left in peace, or it is told where it does not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from support.apps import Journal

from cloche import DirectEngine, StepContext, UsageError, Workflow, create_step, create_workflow
from cloche.testing import TestApp, VirtualTime, assert_replays, crash_everywhere, double, several


def of(id: str) -> Workflow:
    return create_workflow(id=id, execution_engine=DirectEngine())


def test_a_sequence_with_a_long_sleep_ends_the_same() -> None:
    inc = Journal().inc()
    workflow = of("long").then(inc).sleep(30 * 86_400).then(Journal().step("last")).commit()
    report = crash_everywhere(workflow, {"v": 1})
    assert report.result.unwrap() == {"v": 2}
    assert report.crashes == 8  # four commits: the start, two steps, the sleep


def test_what_suspends_and_what_waits_is_answered() -> None:
    journal = Journal()
    workflow = of("asks").then(journal.ask()).wait_for_event("paid").then(journal.step("last")).commit()
    report = crash_everywhere(workflow, {"v": 1}, answers={"ask": {"add": 2}}, events={"paid": {"by": "card"}})
    assert report.result.status == "success"
    assert report.crashes >= 8


def test_a_run_that_stays_suspended_is_compared_as_such() -> None:
    report = crash_everywhere(of("stays").then(Journal().ask()).commit(), {"v": 1})
    assert (report.result.status, report.result.suspended) == ("suspended", [["ask"]])


def test_retries_go_on_across_a_crash() -> None:
    workflow = of("tries").then(Journal().step("unsure", retries=3)).commit()
    report = crash_everywhere(workflow, {"v": 1}, doubles=lambda: [double("unsure", fails=2)])
    assert report.result.unwrap() == {"v": 1}


def test_doubles_are_made_by_a_function() -> None:
    doubles: Any = [double("unsure")]
    with pytest.raises(UsageError, match=r"doubles=lambda: \[double\(…\)\]"):
        crash_everywhere(of("tries").then(Journal().step("unsure")).commit(), {}, doubles=doubles)


def test_a_step_that_is_not_idempotent_is_found() -> None:
    count = itertools.count()
    workflow = of("counts").then(Journal().step("count", lambda _: next(count))).commit()
    with pytest.raises(AssertionError, match=r"a crash before commit 1 of \d changed how the run ends: result was 0"):
        crash_everywhere(workflow, {})


def test_a_step_that_meets_its_own_earlier_effect_is_found() -> None:
    seen: set[str] = set()

    def reserve(_: Any, ctx: StepContext) -> str:
        if len(seen) > 1 and ctx.idempotency_key in seen:
            raise RuntimeError("it is reserved already")
        seen.add(ctx.idempotency_key + str(len(seen)))
        seen.add(ctx.idempotency_key)
        return "reserved"

    workflow = of("reserves").then(Journal().acts("reserve", reserve)).commit()
    with pytest.raises(AssertionError, match="it is reserved already"):
        crash_everywhere(workflow, {})


def exported(workflow: Workflow) -> bytes:
    time = VirtualTime()

    async def main() -> bytes:
        async with TestApp(workflow, world=time.world) as app:
            run = await app.start(workflow, {"v": 1})
            await run.result()
            return await app.export(run.id)

    return time.run(main())


def test_a_kept_history_must_replay(tmp_path: Path) -> None:
    journal = Journal()
    workflow = of("kept").then(journal.inc()).sleep(60).commit()
    file = tmp_path / "kept.cloche"
    file.write_bytes(exported(workflow))
    assert_replays(file)
    assert_replays(file, workflow)
    changed = of("kept").sleep(60).then(journal.inc()).commit()
    with pytest.raises(AssertionError, match="the history has step 'inc'"):
        assert_replays(file, changed)


def test_it_is_for_plain_test_functions() -> None:
    workflow = of("plain").then(Journal().inc()).commit()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="running event loop"):
            crash_everywhere(workflow, {"v": 1})

    VirtualTime().run(main())


def test_a_run_that_is_canceled_cleans_up_wherever_it_is_crashed() -> None:
    journal = Journal()
    workflow = of("waits").then(journal.inc()).sleep(3_600).then(journal.step("never")).commit()
    report = crash_everywhere(workflow, {"v": 1}, cancel_after_s=60)
    assert (report.result.status, sorted(report.result.steps)) == ("canceled", ["inc", "sleep_1"])


def ask_twice(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None or ctx.resume_data < 2:
        ctx.suspend({"so far": ctx.resume_data}, resume_label="manager")
    return ctx.resume_data


@pytest.mark.parametrize("name", ["ask", "manager"])
def test_several_answers_are_given_one_after_another(name: str) -> None:
    workflow = of("twice").then(create_step(id="ask", execute=ask_twice)).commit()
    report = crash_everywhere(workflow, {"v": 1}, answers={name: several(0, 1, 2)})
    assert report.result.unwrap() == 2


def test_nan_is_nan() -> None:
    nan = create_step(id="nan", execute=lambda _: {"is": [float("nan")]})
    assert crash_everywhere(of("odd").then(nan).commit(), {}).crashes >= 4


def test_a_file_is_crashed_like_memory(tmp_path: Path) -> None:
    journal = Journal()
    workflow = of("file").then(journal.inc()).sleep(3_600).then(journal.step("last")).commit()
    report = crash_everywhere(workflow, {"v": 1}, sqlite=tmp_path)
    assert report.result.unwrap() == {"v": 2}
    assert len(list(tmp_path.glob("crash-*.db"))) == report.crashes + 2  # that in peace, and that which dies each time
