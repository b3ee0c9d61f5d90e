"""Remote steps over HTTP: attempts are taken by long poll, and what is said of them reaches the run, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.apps import KEY, AppOn, in_loop, until
from support.served import asker, served

from cloche import Client, Cloche, Kind, RemoteStep, Workflow, create_step, create_workflow, http
from cloche.http import App, Principal, Role
from cloche.operations import tokens
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


def resizing(**options: Any) -> Workflow:
    remote = RemoteStep("resize", **{"input_schema": dict, **options})
    return create_workflow(id="resizing").then(remote).then(create_step(id="after", execute=_after)).commit()


def _after(data: Any) -> Any:
    return {"after": data}


@asynccontextmanager
async def serving(workflow: Workflow | None = None, **options: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Cloche]]:
    """A client of an app that serves a worker with the workflow, and the worker."""
    options.setdefault("auth", http.local)
    async with (
        AppOn(MemoryStore(), workflows=[workflow or resizing()], world=SystemWorld()) as worker,
        asker(http.app(worker, **options)) as ask,
    ):
        yield ask, worker


async def taken(ask: httpx.AsyncClient, step: str = "resize", wait_s: float = 10, **headers: str) -> dict[str, Any]:
    """The one attempt that is there, or comes."""
    answer = await ask.post("/v1/steps/poll", json={"steps": [step], "wait_s": wait_s}, headers=headers)
    [attempt] = answer.json()["attempts"]
    found: dict[str, Any] = attempt
    return found


async def said(ask: httpx.AsyncClient, attempt: dict[str, Any], what: str, **body: Any) -> tuple[int, Any]:
    answer = await ask.post(f"/v1/steps/{attempt['token']}/{what}", json=body)
    return answer.status_code, answer.json()


async def kinds(worker: Cloche, run_id: str = "r1") -> list[Kind]:
    return [record.kind for record in await (await worker.get(run_id)).history()]


async def result(worker: Cloche, run_id: str = "r1") -> Any:
    return await (await worker.get(run_id)).result()


@in_loop
async def test_an_attempt_is_taken_and_its_output_goes_on() -> None:
    async with serving() as (ask, worker):
        await worker.start("resizing", {"url": "x"}, run_id="r1", request_context={"who": "ada"})
        attempt = await taken(ask)
        assert {name: attempt[name] for name in ("step", "input", "run_id", "path", "attempt", "redispatched")} == {
            "step": "resize",
            "input": {"url": "x"},
            "run_id": "r1",
            "path": "resize",
            "attempt": 1,
            "redispatched": 0,
        }
        assert (attempt["request_context"], attempt["idempotency_key"]) == ({"who": "ada"}, "default:r1:1")
        assert await said(ask, attempt, "complete", output={"px": 3}) == (202, {"is_late": False})
        assert (await result(worker)).unwrap() == {"after": {"px": 3}}
        assert (await kinds(worker))[:5] == [
            *(Kind.RUN_CREATED, Kind.RUN_STARTED, Kind.STEP_CALLED, Kind.ATTEMPT_SENT, Kind.STEP_COMPLETED)
        ]


@in_loop
async def test_a_poll_waits_for_an_attempt_and_no_longer_than_it_says() -> None:
    async with serving() as (ask, worker):
        assert (await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 0})).json() == {"attempts": []}
        waiting = asyncio.create_task(taken(ask))
        await asyncio.sleep(0)
        await worker.start("resizing", {}, run_id="r1")
        assert (await waiting)["run_id"] == "r1"


@in_loop
async def test_two_who_poll_the_same_step_get_different_attempts() -> None:
    async with serving() as (ask, worker):
        polls = [asyncio.create_task(taken(ask)) for _ in range(2)]
        for run_id in ("r1", "r2"):
            await worker.start("resizing", {}, run_id=run_id)
        first, second = [await poll for poll in polls]
        assert {first["run_id"], second["run_id"]} == {"r1", "r2"}
        assert first["token"] != second["token"]


@in_loop
async def test_an_end_counts_once() -> None:
    async with serving() as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        attempt = await taken(ask)
        answers = [await said(ask, attempt, "complete", output=number) for number in range(2)]
        assert (await result(worker)).unwrap() == {"after": 0}
        assert answers[0] == (202, {"is_late": False})
        assert await said(ask, attempt, "fail", error={"name": "No"}) == (200, {"is_late": False})
        assert (await kinds(worker)).count(Kind.STEP_COMPLETED) == 2  # of two steps
        assert Kind.LATE_RESULT not in await kinds(worker)


@in_loop
async def test_a_failure_is_tried_again_as_the_step_says() -> None:
    async with serving(resizing(retries=1)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        error = {"name": "OutOfPaper", "message": "no paper", "data": {"tray": 2}}
        for number in (1, 2):
            attempt = await taken(ask)
            assert attempt["attempt"] == number
            await said(ask, attempt, "fail", error=error)
        failed = await result(worker)
        assert (failed.status, failed.error.name, failed.error.message) == ("failed", "OutOfPaper", "no paper")
        assert (failed.error.data, (await kinds(worker)).count(Kind.ATTEMPT_FAILED)) == ({"tray": 2}, 2)


@in_loop
async def test_a_failure_that_is_not_retryable_is_the_last() -> None:
    async with serving(resizing(retries=3)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "fail", error={"name": "Gone"}, is_retryable=False)
        assert (await result(worker)).error.name == "Gone"
        assert (await kinds(worker)).count(Kind.ATTEMPT_SENT) == 1


@in_loop
async def test_retry_on_knows_the_names_that_a_worker_says() -> None:
    flow = resizing(retry_config={"attempts": 3, "retry_on": ["Busy"]})
    async with serving(flow) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "fail", error={"name": "Full", "bases": ["printer.Full", "printer.Busy"]})
        await said(ask, await taken(ask), "fail", error={"name": "Broken"})
        assert (await result(worker)).error.name == "Broken"


@in_loop
async def test_an_output_that_does_not_fit_fails_the_attempt() -> None:
    async with serving(resizing(output_schema=int)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "complete", output="many")
        assert (await result(worker)).error.name == "InvalidInput"


@in_loop
async def test_an_input_that_does_not_fit_is_not_sent() -> None:
    async with serving(resizing(input_schema=int)) as (ask, worker):
        await worker.start("resizing", {"no": "number"}, run_id="r1")
        assert (await result(worker)).error.name == "InvalidInput"
        assert (await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 0})).json() == {"attempts": []}


@in_loop
async def test_an_output_that_is_too_large_is_refused_and_the_attempt_goes_on() -> None:
    async with serving(body_bytes_max=10_000) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        attempt = await taken(ask)
        assert (await said(ask, attempt, "complete", output="x" * 20_000))[0] == 413
        await said(ask, attempt, "complete", output="small")
        assert (await result(worker)).unwrap() == {"after": "small"}


@in_loop
async def test_progress_is_recorded_once_a_key() -> None:
    async with serving() as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        attempt = await taken(ask)
        for value in (1, 2):
            assert await said(ask, attempt, "progress", value=value, key=str(value)) == (202, {"is_canceled": False})
        await said(ask, attempt, "complete")
        await result(worker)
        records = await (await worker.get("r1")).history()
        assert [one.content()["value"] for one in records if one.kind is Kind.STEP_WROTE] == [1, 2]


@in_loop
async def test_state_and_bail_and_suspension_are_as_of_any_step() -> None:
    async with serving() as (ask, worker):
        run = await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "suspend", payload={"ask": "size"}, labels=["size"], state={"seen": 1})
        assert (await run.result()).suspend_payload == {"resize": {"ask": "size"}}
        await ask.post("/v1/runs/r1/resume", json={"step": "resize", "data": 7})
        again = await taken(ask)
        assert (again["is_resumed"], again["resume_data"], again["suspend_data"]) == (True, 7, {"ask": "size"})
        assert again["state"] == {"seen": 1}
        await said(ask, again, "complete", output="early", bail=True, state={"size": 7})
        ended = await run.result()
        assert (ended.unwrap(), ended.state) == ("early", {"seen": 1, "size": 7})


@in_loop
async def test_a_canceled_run_ends_and_its_worker_is_told() -> None:
    async with serving() as (ask, worker):
        run = await worker.start("resizing", {}, run_id="r1")
        attempt = await taken(ask)
        assert await said(ask, attempt, "heartbeat") == (200, {"is_canceled": False})
        await run.cancel()
        assert (await run.result()).status == "canceled"
        assert await said(ask, attempt, "heartbeat") == (200, {"is_canceled": True})
        status, problem = await said(ask, attempt, "complete", output=1)
        assert (status, problem["type"]) == (409, "urn:cloche:error:not-suspended")
        assert (await worker.connection.store.remote_tasks()) == []


@in_loop
async def test_a_run_that_waits_for_remote_steps_alone_is_nobodys() -> None:
    async with serving() as (ask, worker):
        run = await worker.start("resizing", {}, run_id="r1")
        attempt = await taken(ask)
        store = worker.connection.store
        await until(lambda: not worker.connection.is_driven(KEY))
        row = await store.run(KEY)
        assert row is not None
        assert (row.owner, row.status, row.wake_at) == (None, "waiting", None)
        await said(ask, attempt, "complete", output=1)
        assert (await run.result()).unwrap() == {"after": 1}


@in_loop
async def test_why_says_which_step_no_remote_worker_has() -> None:
    async with serving() as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        why = (await ask.get("/v1/runs/r1/why")).json()
        assert (why["kind"], why["sentence"]) == ("remote", "resize waits for a remote worker that has step 'resize'")
        await taken(ask)
        why = (await ask.get("/v1/runs/r1/why")).json()
        assert (why["kind"], why["sentence"]) == ("remote", "resize is performed by remote worker local")


@in_loop
async def test_silence_gives_the_attempt_to_another_worker() -> None:
    async with serving(resizing(heartbeat_s=0.2)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        first = await taken(ask)
        again = await taken(ask)
        assert (again["attempt"], again["redispatched"]) == (1, 1)
        assert await said(ask, first, "heartbeat") == (200, {"is_canceled": True})
        assert await said(ask, first, "complete", output="first") == (202, {"is_late": True})
        await said(ask, again, "complete", output="second")
        assert (await result(worker)).unwrap() == {"after": "second"}
        assert (await kinds(worker)).count(Kind.LATE_RESULT) == 1


@in_loop
async def test_silence_of_what_is_at_most_once_leaves_its_outcome_unknown() -> None:
    async with serving(resizing(heartbeat_s=0.2, at_most_once=True)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "heartbeat")
        assert (await result(worker)).error.name == "UnknownOutcome"


@in_loop
async def test_what_nobody_has_begun_is_given_to_another_even_if_it_is_at_most_once() -> None:
    async with serving(resizing(heartbeat_s=0.2, at_most_once=True)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        await taken(ask)  # and never heard of again
        again = await taken(ask)
        await said(ask, again, "complete", output=1)
        assert (await result(worker)).unwrap() == {"after": 1}


@in_loop
async def test_an_attempt_that_takes_too_long_has_failed_and_its_end_is_late() -> None:
    async with serving(resizing(timeout=0.2, retries=1)) as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        slow, second = await taken(ask), await taken(ask)
        assert (slow["attempt"], second["attempt"]) == (1, 2)
        assert await said(ask, slow, "complete", output="slow") == (202, {"is_late": True})
        await said(ask, second, "complete", output="in time")
        assert (await result(worker)).unwrap() == {"after": "in time"}
        records = await (await worker.get("r1")).history()
        assert [one.content()["value"] for one in records if one.kind is Kind.LATE_RESULT] == ["slow"]


@in_loop
async def test_a_token_of_another_tenant_is_no_token() -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[resizing()], world=SystemWorld()) as worker, asker(http.app(worker)) as ask:
        await (worker.tenant("acme")).start("resizing", {}, run_id="r1")
        acme, other = [await _bearer(worker, tenant) for tenant in ("acme", "other")]
        attempt = await taken(ask, **acme)  # type: ignore[arg-type]  # they are headers
        empty = await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 0}, headers=other)
        assert empty.json() == {"attempts": []}
        answers = [
            (await ask.post(f"/v1/steps/{token}/complete", json={"output": 1}, headers=other)).content
            for token in (attempt["token"], "cra_nobody", attempt["token"][:-2] + "xx")
        ]
        assert len(set(answers)) == 1
        assert (await ask.get("/v1/runs/r1", headers=acme)).status_code == 403  # a worker reads no runs
        done = await ask.post(f"/v1/steps/{attempt['token']}/complete", json={"output": 1}, headers=acme)
        assert done.status_code == 202


async def _bearer(worker: Cloche, tenant: str) -> dict[str, str]:
    store, now = worker.connection.store, worker.connection.world.now()
    made = await tokens.create(store, tenant=tenant, role="worker", label="", now=now)
    return {"Authorization": f"Bearer {made.text}"}


@in_loop
async def test_no_token_of_an_attempt_is_in_a_listing() -> None:
    async with serving() as (ask, worker):
        await worker.start("resizing", {}, run_id="r1")
        token = (await taken(ask))["token"]
        pages = [await ask.get(f"/v1/runs/r1{path}") for path in ("", "/log?bodies=full", "/why", "/result")]
        assert all(token not in page.text for page in pages)
        assert token not in repr(await worker.connection.store.remote_tasks())


@in_loop
async def test_a_client_without_a_worker_hands_attempts_out_and_takes_their_ends() -> None:
    """The server is another process than the worker that owns the run; both have a connection of their own."""
    store = MemoryStore()
    async with (
        AppOn(store, workflows=[resizing()], world=SystemWorld()) as worker,
        Client(await store.connect()) as client,
        asker(http.app(client, auth=http.local)) as ask,
    ):
        await worker.start("resizing", {}, run_id="r1")
        await said(ask, await taken(ask), "complete", output=1)
        assert (await result(worker)).unwrap() == {"after": 1}


@in_loop
async def test_a_server_that_drains_answers_those_who_wait() -> None:
    async with served(resizing()) as (ask, app):
        waiting = asyncio.create_task(ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 30}))
        await _polls(app)
        app.drain()
        assert (await waiting).json() == {"attempts": []}


class LookedAt(MemoryStore):
    """Counts the looks at what waits."""

    looks = 0

    async def remote_waiting(self) -> list[tuple[Any, str]]:
        LookedAt.looks += 1
        return await super().remote_waiting()


@in_loop
async def test_a_thousand_who_wait_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle workers cost the store nothing each: whoever comes to wait for what is known not to be there asks for nothing."""
    monkeypatch.setattr(LookedAt, "looks", 0)
    async with Client(LookedAt()) as client:
        app = http.app(client, auth=http.local, requests_per_s=1e6, burst=10**6)
        polls = app.state.service.polls
        taking = [asyncio.create_task(polls.take([f"step-{one}"], 1, "", None, 60)) for one in range(1_000)]
        await until(lambda: len(polls._waiting) == 1_000)
        for one in range(20):  # one after another: each would be a look of its own
            taking.append(asyncio.create_task(polls.take([f"late-{one}"], 1, "", None, 60)))
            for _ in range(10):
                await asyncio.sleep(0)
        assert 1 <= LookedAt.looks <= 3
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)


async def _polls(app: App) -> None:
    await until(lambda: bool(app.state.service.polls._waiting))


@pytest.mark.parametrize(
    ("role", "status"), [(Role.WORKER, 200), (Role.VIEWER, 403), (Role.OPERATOR, 200), (Role.ADMIN, 200)]
)
@in_loop
async def test_viewers_perform_nothing(role: Role, status: int) -> None:
    async with serving(auth=lambda scope: Principal("p", role, "default")) as (ask, _):
        answer = await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 0})
        assert answer.status_code == status
