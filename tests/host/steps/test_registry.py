"""What a process can execute, by id."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from cloche import create_step, create_workflow
from cloche.engines import Code
from cloche.errors import InvalidInput, InvalidResult, UsageError
from cloche.history.retry import RetryPolicy
from cloche.history.values import decode, encode
from cloche.steps import registry as registry_module
from cloche.steps.registry import Registry, retry_policy_of


class Answer(BaseModel):
    yes: bool


def ask(id: str = "ask", **options: Any) -> Any:
    return create_step(id=id, execute=lambda data: data, **options)


def code(workflow: Any, owner: str = "") -> Code:
    return Code(workflow.id, "", "", {}, workflow.graph.to_json(), owner=owner)


def test_the_steps_of_a_workflow_come_with_it() -> None:
    registry, step = Registry(), ask()
    workflow = create_workflow(id="w").then(step).commit()
    registry.register([workflow])
    assert (registry.workflow("w"), registry.step("ask")) == (workflow, step)


def test_two_steps_of_one_id_are_refused() -> None:
    registry = Registry()
    registry.register([], [ask()])
    with pytest.raises(UsageError, match="two steps have the id 'ask'"):
        registry.register([], [ask()])


def test_what_a_tenant_brought_is_not_the_workflow_of_that_id() -> None:
    registry, workflow = Registry(), create_workflow(id="w").then(ask()).commit()
    registry.register([workflow])
    assert registry.workflow_of(code(workflow)) is workflow
    assert registry.workflow_of(code(workflow, owner="acme")) is None


def test_runs_from_before_there_were_types_are_held_to_none() -> None:
    registry, workflow = Registry(), create_workflow(id="w", output_schema=Answer).then(ask()).commit()
    registry.register([workflow])
    pinned = code(workflow)
    old = Code.unpack(encode({name: one for name, one in decode(pinned.pack()).items() if name != "typed"}))
    assert (pinned.typed, old.typed) == (True, False)
    assert (registry.checks(pinned).outputs, registry.checks(old).outputs) == (True, False)
    registry.check_result(old, {"no": 1})
    with pytest.raises(InvalidResult, match="the result of workflow 'w' does not fit its schema: yes: Field required"):
        registry.check_result(pinned, {"no": 1})
    asked = create_workflow(id="w", output_schema=Answer, validate_outputs=True).then(ask()).commit()
    registry = Registry()
    registry.register([asked])
    assert registry.checks(old).outputs is True  # as was asked for then


def test_resume_data_is_held_against_the_schema_of_the_step() -> None:
    registry = Registry()
    registry.register([], [ask(resume_schema=Answer)])
    assert registry.checked_resume("ask", "ask", {"yes": True}) == {"yes": True}
    with pytest.raises(InvalidInput, match="resume data of step 'w/ask'"):
        registry.checked_resume("ask", "w/ask", {"yes": "perhaps"})


def test_a_nested_workflow_has_retries_of_its_own() -> None:
    registry, one = Registry(), ask()
    inner = create_workflow(id="Inner", retry_config={"attempts": 4}).then(one).commit()
    plain = create_workflow(id="Plain").then(one).commit()
    outer = create_workflow(id="w", retry_config={"attempts": 1}).foreach(inner).then(plain).then(one).commit()
    made = {
        path: registry.retry_policy(one, code(outer), path).retries for path in ("Inner[7]/ask", "Plain/ask", "ask")
    }
    assert made == {"Inner[7]/ask": 4, "Plain/ask": 1, "ask": 1}


def test_what_is_known_of_a_code_takes_its_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was kept for each of its steps: those of a long workflow drove each other out."""
    long = create_workflow(id="long")
    steps = [ask(id=f"s{number}", retries=number) for number in range(50)]
    for step in steps:
        long.then(step)
    pinned = code(long.commit())
    monkeypatch.setattr(registry_module, "CODES_BYTES_MAX", 2 * len(pinned.graph))
    made = list[str]()

    def counted(code: Code, step: Any, path: str) -> RetryPolicy:
        made.append(step.id)
        return retry_policy_of(code, step, path)

    monkeypatch.setattr(registry_module, "retry_policy_of", counted)
    registry = Registry()
    registry.register([long])
    for _ in range(2):
        found = [registry.retry_policy(step, pinned, step.id).retries for step in steps]
        assert found == list(range(50))
    assert made == [step.id for step in steps]


def test_paths_that_a_guest_makes_up_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "PATHS_MAX", 10)
    registry, workflow = Registry(), create_workflow(id="w").then(ask()).commit()
    theirs = code(workflow, owner="acme")
    for number in range(100):
        assert registry.retry_policy(ask(), theirs, f"p{number}/ask").retries == 0
    assert len(registry._of(theirs).retries) <= 10


def test_a_tenant_asks_for_fewer_attempts_and_never_for_more() -> None:
    for asked, allowed, made in ((9, 2, 2), (1, 5, 1)):
        workflow = create_workflow(id="w").then(ask(retries=asked)).commit()
        assert retry_policy_of(code(workflow, owner="acme"), ask(retries=allowed)).retries == made
        assert retry_policy_of(code(workflow), ask(retries=allowed)).retries == asked
