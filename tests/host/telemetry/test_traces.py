"""Traces: a span for each activation and attempt, links across suspensions, none for what is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.apps import AppOn, Journal, in_loop, until
from support.served import adding, asker

from cloche import Client, Workflow, create_step, create_workflow, http
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore
from cloche.telemetry import Traces

STARTER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def asks(journal: Journal) -> Workflow:
    """A run of it waits for a person, once."""
    return create_workflow(id="asking").then(journal.ask()).commit()


class Exported:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    @property
    def activations(self) -> list[ReadableSpan]:
        return self.named("cloche.activate")

    def attributes(self, span: ReadableSpan) -> dict[str, Any]:
        return dict(span.attributes or {})


@pytest.fixture
def exported() -> Iterator[Exported]:
    made = Exported()
    yield made
    made.provider.shutdown()


def traced(store: MemoryStore, exported: Exported, *workflows: Any) -> AppOn:
    return AppOn(store, workflows=workflows, world=SystemWorld(), observers=[Traces(exported.provider)])


def linked(span: ReadableSpan) -> dict[str, int]:
    return {str((link.attributes or {})["cloche.link"]): link.context.span_id for link in span.links}


@in_loop
async def test_an_activation_is_a_trace_and_its_attempts_are_within(journal: Journal, exported: Exported) -> None:
    tries: list[int] = []

    def flaky(value: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("a secret of the input")
        return value

    flow = create_workflow(id="flaky").then(create_step(id="try", execute=flaky, retries=1)).commit()
    async with traced(MemoryStore(), exported, flow) as app:
        await (await app.start("flaky", {"v": "private"}, run_id="r1")).result()
        await until(lambda: exported.activations)
    [activation] = exported.activations
    assert activation.parent is None
    assert exported.attributes(activation) == {
        "workflow.name": "flaky",
        "workflow.run.id": "r1",
        "cloche.tenant.id": "default",
        "workflow.run.status": "success",
        "cloche.log.seq": (exported.attributes(activation))["cloche.log.seq"],
    }
    first, second = exported.named("cloche.step try")
    for number, span in ((1, first), (2, second)):
        assert (span.parent and span.parent.span_id) == activation.context.span_id
        assert span.context.trace_id == activation.context.trace_id
        assert (exported.attributes(span)["step.attempt"], exported.attributes(span)["step.id"]) == (number, "try")
    assert exported.attributes(first)["error.type"] == "ValueError"
    assert [exported.attributes(one)["step.status"] for one in (first, second)] == ["failed", "completed"]
    told = "".join(span.to_json() for span in exported.exporter.get_finished_spans())
    assert ("secret" in told, "private" in told) == (False, False)


@in_loop
async def test_a_suspension_parts_two_traces_that_are_linked(journal: Journal, exported: Exported) -> None:
    async with traced(MemoryStore(), exported, asks(journal)) as app:
        await (await app.start("asking", {"v": 1}, run_id="r1")).result()
        await until(lambda: len(exported.activations) == 1)
        await app.resume("r1", resume_data={"add": 1})
        await until(lambda: len(exported.activations) == 2)
    first, second = exported.activations
    assert first.context.trace_id != second.context.trace_id
    assert (second.parent, linked(second)) == (None, {"before": first.context.span_id})


@in_loop
async def test_what_is_replayed_has_no_span(journal: Journal, exported: Exported) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[asks(journal)], world=SystemWorld()) as app:
        await (await app.start("asking", {"v": 1}, run_id="r1")).result()
    async with traced(store, exported, asks(journal)) as app:
        await app.resume("r1", resume_data={"add": 1})
        await until(lambda: exported.activations)
    [span] = exported.named("cloche.step ask")
    assert exported.attributes(span)["step.status"] == "completed"
    replayed = [event for event in exported.activations[0].events if event.name == "cloche.replay"]
    assert [dict(event.attributes or {})["cloche.replayed_events"] > 0 for event in replayed] == [True]  # type: ignore[operator]


@in_loop
async def test_the_starters_context_is_kept_in_the_run_and_linked(journal: Journal, exported: Exported) -> None:
    """Also by a worker that takes the run up later, and where the start is a request over HTTP."""
    store = MemoryStore()
    tracer = exported.provider.get_tracer("test")
    async with Client(store) as client:
        with tracer.start_as_current_span("starter") as span:
            waits = await _left(client)
        starter = span.get_span_context().span_id
    async with traced(store, exported, adding(journal)) as app, asker(http.app(app, auth=http.local)) as ask:
        await (await app.get(waits)).result()
        body = {"input": {"v": 1}, "run_id": "r2"}
        await ask.post("/v1/workflows/adding/runs", json=body, headers={"traceparent": STARTER, "Prefer": "wait=20"})
        await ask.post("/v1/workflows/adding/runs", json={**body, "run_id": "r3"}, headers={"traceparent": "no"})
        await (await app.get("r3")).result()
        await until(lambda: len(exported.activations) == 3)
        found = {exported.attributes(one)["workflow.run.id"]: linked(one) for one in exported.activations}
        assert found == {"r1": {"starter": starter}, "r2": {"starter": 0x00F067AA0BA902B7}, "r3": {}}
        assert (await store.marks((await app.get("r2"))._key))["tag traceparent"] == STARTER


async def _left(client: Client) -> str:
    """A request to start a run, which a worker finds later."""
    import contextlib

    from cloche.errors import NotFound

    with contextlib.suppress(NotFound):
        return (await client.start("adding", {"v": 1}, run_id="r1")).id
    return "r1"


@in_loop
async def test_a_step_is_the_parent_of_what_it_traces(exported: Exported) -> None:
    """On the loop and in a thread; and a run that it starts has its context."""
    tracer = exported.provider.get_tracer("test")

    async def on_loop(value: Any) -> Any:
        with tracer.start_as_current_span("inner"):
            return value

    def in_thread(value: Any) -> Any:
        with tracer.start_as_current_span("inner"):
            return value

    one, two = create_step(id="one", execute=on_loop), create_step(id="two", execute=in_thread)
    flow = create_workflow(id="nests").then(one).then(two).commit()
    async with traced(MemoryStore(), exported, flow) as app:
        await (await app.start("nests", 1)).result()
        await until(lambda: exported.activations)
    parents = [span.parent.span_id if span.parent else 0 for span in exported.named("inner")]
    assert parents == [exported.named(f"cloche.step {name}")[0].context.span_id for name in ("one", "two")]
    assert trace.get_current_span().get_span_context().is_valid is False
