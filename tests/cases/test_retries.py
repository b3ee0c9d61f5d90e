"""J. Retries: how often, after what wait, for which errors, and how long one try may take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.apps import Journal
from support.cases import Case, everywhere, failure, outcome, uncut

from cloche import FatalError, RetryableError, RetryConfig, Step, StepContext, create_workflow
from cloche.history import Kind


class Flaky:
    """Fails as often as it is told, and knows what it was called with."""

    def __init__(self, failures: float, error: type[Exception] = OSError) -> None:
        self.failures = failures
        self.error = error
        self.counts: list[int] = []

    def step(self, journal: Journal, id: str = "flaky", **options: Any) -> Step:
        return journal.acts(id, self._act, **options)

    def _act(self, _: Any, ctx: StepContext) -> str:
        self.counts.append(ctx.retry_count)
        if ctx.retry_count < self.failures:
            raise self.error(f"try {ctx.attempt}")
        return "done"


@everywhere
async def test_workflow_level_retries(case: Case) -> None:
    flaky, began = Flaky(2), case.world.now()
    workflow = create_workflow(id="w", retry_config={"attempts": 3, "delay_s": 0.005}).then(flaky.step(case.journal))
    result = await case.start(workflow, {})
    assert (outcome(result), flaky.counts) == (("success", "done"), [0, 1, 2])
    assert (result.steps["flaky"].attempts, case.world.now() - began) == (3, 10)


@everywhere
async def test_when_all_tries_are_used_up_the_last_error_counts(case: Case) -> None:
    flaky = Flaky(9)
    result = await case.start(create_workflow(id="w", retry_config={"attempts": 1}).then(flaky.step(case.journal)), {})
    assert (failure(result), flaky.counts) == (("OSError", "try 2"), [0, 1])


@everywhere
async def test_without_a_word_there_is_no_retry(case: Case) -> None:
    flaky = Flaky(9)
    result = await case.start(create_workflow(id="w").then(flaky.step(case.journal)))
    assert (failure(result), flaky.counts) == (("OSError", "try 1"), [0])


@everywhere
async def test_a_step_overrides_how_often_and_keeps_the_wait_of_its_workflow(case: Case) -> None:
    flaky, began = Flaky(2), case.world.now()
    step = flaky.step(case.journal, retries=2)
    result = await case.start(create_workflow(id="w", retry_config={"attempts": 0, "delay_s": 7}).then(step))
    assert (outcome(result), case.world.now() - began) == (("success", "done"), 14_000)


@everywhere
async def test_waits_grow_up_to_a_limit(case: Case) -> None:
    flaky, began = Flaky(3), case.world.now()
    config = RetryConfig(attempts=3, delay_s=10, factor=3, delay_s_max=50)
    result = await case.start(create_workflow(id="w").then(flaky.step(case.journal, retry_config=config)))
    assert (outcome(result), case.world.now() - began) == (("success", "done"), (10 + 30 + 50) * 1000)


@everywhere
async def test_jitter_is_drawn_once_and_is_in_the_log(case: Case) -> None:
    began = case.world.now()
    config = RetryConfig(attempts=1, delay_s=100, jitter=0.5)
    await case.start(create_workflow(id="w").then(Flaky(1).step(case.journal, retry_config=config)))
    waited = case.world.now() - began
    [failed] = await case.records(Kind.ATTEMPT_FAILED)
    assert failed.content()["retry_at"] - failed.time == waited
    assert 50_000 <= waited <= 150_000


@pytest.mark.parametrize(("error", "tries"), [(ConnectionError, 3), (TimeoutError, 1), (ConnectionResetError, 3)])
@everywhere
async def test_only_the_errors_that_are_named_are_tried_again(case: Case, error: type[Exception], tries: int) -> None:
    flaky = Flaky(9, error)
    config = RetryConfig(attempts=2, retry_on=(ConnectionError,))
    result = await case.start(create_workflow(id="w").then(flaky.step(case.journal, retry_config=config)))
    assert (failure(result)[0], len(flaky.counts)) == (error.__name__, tries)


@everywhere
async def test_a_fatal_error_is_not_tried_again(case: Case) -> None:
    flaky = Flaky(9, FatalError)
    result = await case.start(create_workflow(id="w").then(flaky.step(case.journal, retries=5)))
    assert (failure(result), flaky.counts) == (("FatalError", "try 1"), [0])


@everywhere
async def test_an_error_may_say_when_to_try_again(case: Case) -> None:
    def busy(_: Any, ctx: StepContext) -> str:
        if ctx.retry_count == 0:
            raise RetryableError("busy", retry_after=90)
        return "done"

    began = case.world.now()
    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", busy, retries=1)))
    assert (outcome(result), case.world.now() - began) == (("success", "done"), 90_000)


@uncut
async def test_each_try_has_its_own_timeout(case: Case) -> None:
    async def slow(_: Any, ctx: StepContext) -> str:
        if ctx.retry_count == 0:
            await asyncio.sleep(60)
        return "in time"

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", slow, retries=1, timeout_s=0.02)))
    assert (outcome(result), result.steps["s"].attempts) == (("success", "in time"), 2)
    [failed] = await case.records(Kind.ATTEMPT_FAILED)
    assert failed.content()["failure"]["name"] == "TimeoutError"


@everywhere
async def test_all_tries_have_one_idempotency_key(case: Case) -> None:
    keys: list[str] = []

    def act(_: Any, ctx: StepContext) -> str:
        keys.append(ctx.idempotency_key)
        if ctx.retry_count < 2:
            raise OSError("again")
        return "done"

    step = case.journal.acts("s", act, retries=2)
    await case.start(create_workflow(id="w").then(step).then(step, id="other"))
    assert (len(keys), len(set(keys))) == (6, 2)


@everywhere
async def test_a_nested_workflow_is_retried_by_the_retries_of_the_run(case: Case) -> None:
    flaky = Flaky(1)
    inner = create_workflow(id="W").then(flaky.step(case.journal)).commit()
    result = await case.start(create_workflow(id="w", retry_config={"attempts": 1}).then(inner))
    assert (outcome(result), flaky.counts) == (("success", "done"), [0, 1])


@everywhere
async def test_a_retry_waits_while_its_siblings_go_on(case: Case) -> None:
    flaky = Flaky(1)
    step = flaky.step(case.journal, retry_config={"attempts": 1, "delay_s": 3600})
    await case.start(create_workflow(id="w").parallel([step, case.journal.inc()]), {"v": 1}, still=True)
    assert await case.paths(Kind.STEP_COMPLETED) == ["inc"]
    assert outcome(await case.end()) == ("success", {"flaky": "done", "inc": {"v": 2}})


@everywhere
async def test_a_run_is_canceled_while_it_waits_to_try_again(case: Case) -> None:
    flaky = Flaky(1)
    step = flaky.step(case.journal, retry_config={"attempts": 1, "delay_s": 3600})
    await case.start(create_workflow(id="w").then(step), still=True)
    result = await case.cancel()
    assert (outcome(result), flaky.counts) == (("canceled", None), [0])
