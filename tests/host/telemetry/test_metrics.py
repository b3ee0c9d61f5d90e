"""Metrics: their names and labels, what counts, and that nothing is counted twice or by the id of a run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop
from support.metrics import FAMILIES
from support.served import adding, asker
from support.serving import Serving

from cloche import Workflow, create_step, create_workflow, http
from cloche.run.clock import SystemWorld
from cloche.run.observing import Observing
from cloche.store import MemoryStore
from cloche.telemetry import Metrics


def asks(journal: Journal) -> Workflow:
    """A run of it waits for a person, once."""
    return create_workflow(id="asking").then(journal.ask()).commit()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def families(metrics: Metrics) -> dict[str, set[str]]:
    found = {}
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = labels - {"le"}
    return found


@asynccontextmanager
async def measured(*workflows: Any, metrics: Metrics | None = None) -> AsyncIterator[tuple[Any, Metrics]]:
    watching = metrics or Metrics(store="memory")
    worker = AppOn(MemoryStore(), workflows=workflows, world=SystemWorld(), observers=[watching])
    async with worker:
        yield worker, watching


@in_loop
async def test_what_happens_is_counted_under_its_names(journal: Journal) -> None:
    def refuse(value: Any) -> Any:
        raise ValueError("no")

    refusing = create_workflow(id="refusing").then(create_step(id="refuse", execute=refuse, retries=1)).commit()
    async with measured(adding(journal), asks(journal), refusing) as (app, metrics):
        await (await app.start("adding", {"v": 1})).result()
        await (await app.start("refusing", {"v": 1})).result()
        await (await app.start("asking", {"v": 1}, run_id="r1")).result()
        await app.resume("r1", resume_data={"add": 1})
        for workflow in ("adding", "refusing", "asking"):
            assert value(metrics, "cloche_runs_started_total", workflow=workflow) == 1
        assert value(metrics, "cloche_runs_completed_total", workflow="adding", status="success") == 1
        assert value(metrics, "cloche_runs_completed_total", workflow="refusing", status="failed") == 1
        assert value(metrics, "cloche_run_duration_seconds_count", workflow="adding", status="success") == 1
        refused = {"workflow": "refusing", "step": "refuse", "outcome": "failed"}
        assert value(metrics, "cloche_step_attempts_total", **refused) == 2
        assert value(metrics, "cloche_step_duration_seconds_count", **refused) == 2
        asked = {
            outcome: {"workflow": "asking", "step": "ask", "outcome": outcome} for outcome in ("suspended", "completed")
        }
        assert [value(metrics, "cloche_step_attempts_total", **one) for one in asked.values()] == [1, 1]
        assert value(metrics, "cloche_guest_fuel_total") > 0
        assert value(metrics, "cloche_log_append_seconds_count", store="memory") >= 5


@in_loop
async def test_names_and_labels_are_those_that_dashboards_know(journal: Journal) -> None:
    async with measured(adding(journal)) as (app, metrics):
        await (await app.start("adding", {"v": 1}, run_id="the-id-of-a-run")).result()
        metrics.host.limits.labels("fuel").inc()
        shown = metrics.exposition({"waiting": 2}, 17).decode()
        assert families(metrics) == FAMILIES
        assert 'cloche_runs{status="waiting"} 2.0' in shown
        assert "cloche_guest_memory_bytes 17.0" in shown
        assert "the-id-of-a-run" not in shown


@in_loop
async def test_a_status_that_no_run_has_any_more_is_not_shown() -> None:
    metrics = Metrics()
    metrics.exposition({"waiting": 2}, 0)
    assert "waiting" not in metrics.exposition({}, 0).decode()


@in_loop
async def test_what_is_replayed_is_not_counted_again(journal: Journal) -> None:
    """A run that another worker has begun counts there: its steps are not made again, its events are replayed."""
    store = MemoryStore()
    async with AppOn(store, workflows=[asks(journal)], world=SystemWorld()) as app:
        await (await app.start("asking", {"v": 1}, run_id="r1")).result()
    metrics = Metrics()
    async with AppOn(store, workflows=[asks(journal)], world=SystemWorld(), observers=[metrics]) as app:
        await app.resume("r1", resume_data={"add": 1})
        assert value(metrics, "cloche_runs_started_total", workflow="asking") == 0
        assert value(metrics, "cloche_step_attempts_total", workflow="asking", step="ask", outcome="suspended") == 0
        assert value(metrics, "cloche_step_attempts_total", workflow="asking", step="ask", outcome="completed") == 1
        assert value(metrics, "cloche_replayed_events_total") > 0
        assert value(metrics, "cloche_replay_seconds_count") == 1


@in_loop
async def test_tenants_have_labels_where_they_are_asked_for_and_up_to_a_cap(journal: Journal) -> None:
    async with measured(adding(journal), metrics=Metrics(tenants_max=2)) as (app, metrics):
        for tenant in ("a", "b", "c", "d", "a"):
            await (await app.tenant(tenant).start("adding", {"v": 1})).result()
        counts = [value(metrics, "cloche_runs_started_total", workflow="adding", tenant=one) for one in "abcd"]
        assert counts == [2, 1, 0, 0]
        assert value(metrics, "cloche_runs_started_total", workflow="adding", tenant="other") == 2
        assert families(metrics)["cloche_step_attempts_total"] == {*FAMILIES["cloche_step_attempts_total"], "tenant"}


def test_workflows_beyond_the_cap_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    assert [metrics._capped("workflow", 2, name) for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


@in_loop
async def test_whoever_watches_and_raises_changes_nothing(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    metrics = Metrics()
    worker = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld(), observers=[Broken(), metrics])
    async with worker as app:
        assert (await (await app.start("adding", {"v": 1})).result()).unwrap() == {"v": 2}
    assert value(metrics, "cloche_runs_started_total", workflow="adding") == 1
    assert "whoever watches runs raised" in caplog.text


def test_every_method_of_an_observer_is_passed_on() -> None:
    from cloche.run.observing import Observer

    named = {name for name in vars(Observer) if not name.startswith("_")}
    assert named - {name for name in vars(Observing) if not name.startswith("_")} == {"attempt_begins"}


# ---- over HTTP ----


@in_loop
async def test_metrics_are_for_tokens_of_all_tenants(journal: Journal) -> None:
    async with measured(asks(journal)) as (app, metrics):
        await (await app.start("asking", {"v": 1})).result()
        async with asker(http.app(app, auth=http.local, metrics=metrics)) as ask:
            answer = await ask.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert 'cloche_runs{status="suspended"} 1.0' in answer.text
            memory = re.search(r"^cloche_guest_memory_bytes (\S+)$", answer.text, re.MULTILINE)
            assert memory is not None
            assert float(memory[1]) > 0
        of_one = http.Principal("p", http.Role.ADMIN, "default")
        async with asker(http.app(app, auth=lambda scope: of_one, metrics=metrics)) as ask:
            assert (await ask.get("/metrics")).status_code == 403


def test_serve_has_metrics(tmp_path: Path) -> None:
    from support.commands import MATH

    with Serving(MATH, store=str(tmp_path / "runs.db"), options=["--metrics-of-tenants", "5"]) as server:
        server.post("/v1/workflows/math/runs", {"input": {"x": 1}}, Prefer="wait=30")
        shown = server.get("/metrics").text
        assert 'cloche_runs_started_total{tenant="default",workflow="math"} 1.0' in shown
        assert 'cloche_log_append_seconds_count{store="sqlite"}' in shown
