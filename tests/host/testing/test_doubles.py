"""Doubles of steps: what they answer, what they record, and how often they fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from host.testing.families_for_tests import child, neighbour, parent
from support.guests import needs_python

from cloche import DirectEngine, RetryConfig, RunResult, StepContext, Workflow, create_step, create_workflow
from cloche.errors import UsageError
from cloche.testing import StepDouble, TestApp, VirtualTime, double


def charge(data: dict[str, Any]) -> dict[str, Any]:
    return {"charged": data["amount"]}


WORKFLOW = (
    create_workflow(id="order", retry_config=RetryConfig(attempts=2, delay_s=3_600))
    .then(create_step(id="charge", execute=charge))
    .then(create_step(id="mail", execute=lambda data: {"mailed": data}))
    .commit()
)


def run(workflow: Workflow, doubles: Sequence[StepDouble], time: VirtualTime | None = None) -> RunResult:
    used = time or VirtualTime()

    async def main() -> RunResult:
        async with TestApp(workflow, doubles=doubles, engine=DirectEngine(), world=used.world) as app:
            return await (await app.start(workflow, {"amount": 5})).result()

    return used.run(main())


def test_a_double_answers_instead_of_its_step() -> None:
    charge = double("charge", returns={"charged": 0})
    assert run(WORKFLOW, [charge]).unwrap() == {"mailed": {"charged": 0}}
    assert charge.inputs == [{"amount": 5}]


def test_a_double_may_be_a_function_with_or_without_the_context() -> None:
    async def mail(data: Any, ctx: StepContext) -> Any:
        return [ctx.step_id, data]

    charge = double("charge", calls=lambda data: {"charged": data["amount"] + 1})
    assert run(WORKFLOW, [charge, double("mail", calls=mail)]).unwrap() == ["mail", {"charged": 6}]


def test_a_double_fails_and_then_lets_the_step_go_on() -> None:
    time, charge = VirtualTime(), double("charge", fails=2)
    assert run(WORKFLOW, [charge], time).unwrap() == {"mailed": {"charged": 5}}
    assert [call.attempt for call in charge.calls] == [1, 2, 3]
    assert time.passed_s >= 3_600


def test_a_double_that_fails_too_often_fails_the_run() -> None:
    result = run(WORKFLOW, [double("charge", fails=[ValueError("no"), ValueError("no"), ValueError("never")])])
    assert (result.status, result.error and result.error.message) == ("failed", "never")


def test_a_double_without_an_answer_only_listens() -> None:
    mail = double("mail")
    assert run(WORKFLOW, [mail]).unwrap() == {"mailed": {"charged": 5}}
    assert [(call.path, call.data) for call in mail.calls] == [("mail", {"charged": 5})]


def test_what_a_double_returns_is_its_own_each_time() -> None:
    answer = {"charged": [1]}
    charge = double("charge", returns=answer)
    assert run(WORKFLOW, [charge, double("mail", calls=lambda data: data["charged"])]).unwrap() == [1]
    assert answer == {"charged": [1]}


def test_a_double_of_no_step_is_told() -> None:
    with pytest.raises(UsageError, match="no step 'pay'"):
        TestApp(WORKFLOW, doubles=[double("pay", returns=1)])


def test_a_double_has_one_answer() -> None:
    with pytest.raises(UsageError, match="two answers"):
        double("pay", returns=1, calls=charge)


def test_the_workflow_itself_is_not_changed() -> None:
    run(WORKFLOW, [double("charge", returns=0)])
    assert run(WORKFLOW, []).unwrap() == {"mailed": {"charged": 5}}


async def answers(*workflows: Workflow, doubles: Sequence[StepDouble] = ()) -> list[Any]:
    async with TestApp(*workflows, doubles=doubles) as app:
        return [(await (await app.start(one.id, "ann")).result()).unwrap() for one in workflows]


@pytest.mark.parametrize("given", [[parent], [parent, child], [child, parent], [neighbour, parent, child]])
def test_a_step_is_doubled_wherever_it_is_called(given: list[Workflow]) -> None:
    needs_python()
    doubled = double("look_up", returns="bob")
    found = VirtualTime().run(answers(*given, doubles=[doubled]))
    assert found == ["sent bob" if one is parent else "bob" for one in given]
    assert doubled.inputs == ["ann"] * len(given)


def test_a_parent_and_its_child_are_given_together() -> None:
    needs_python()
    assert VirtualTime().run(answers(parent, child)) == ["sent really ann", "really ann"]


def test_a_double_may_be_of_one_of_several_workflows() -> None:
    needs_python()
    found = VirtualTime().run(answers(child, parent, doubles=[double("send", calls=lambda text: f"({text})")]))
    assert found == ["really ann", "(really ann)"]
