"""What the page of one run asks for: heads of its records, and the shape of its code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.apps import Journal, in_loop
from support.served import adding, asking, heard, served, started

from cloche import Cloche, Policy, create_workflow
from cloche.engines import Code
from cloche.history.fold import folded
from cloche.operations import shapes
from cloche.operations.shapes import shape_of
from cloche.store import MemoryStore, blob_digest
from cloche_codegen.shape_data import NOTHING


@in_loop
async def test_heads_come_in_pages_and_fold_to_the_run(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        first = (await ask.get("/v1/runs/r1/heads?limit=3")).json()
        rest = (await ask.get("/v1/runs/r1/heads?after=3")).json()
        assert (len(first["heads"]), first["next"], rest["next"], first["records"]) == (3, 3, None, 5)
        heads = [*first["heads"], *rest["heads"]]
        assert [head[:2] for head in heads] == [
            [1, "run_created"], [2, "run_started"], [3, "step_called"], [4, "attempt_started"], [5, "step_suspended"],
        ]  # fmt: skip
        fold = folded(heads)
        assert (fold.status, [one.path for one in fold.calls.values()]) == ("suspended", ["ask"])


@in_loop
async def test_texts_are_short_and_payloads_stay_where_they_are(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1, "long": "x" * 3000}, "r1")
        heads = (await ask.get("/v1/runs/r1/heads?texts=true")).json()["heads"]
        assert max(len(head[6]) for head in heads) == 160
        assert heads[-1][6].startswith('{"v": 2')
        assert "xxx" not in (await ask.get("/v1/runs/r1/heads")).text


@in_loop
async def test_a_stream_of_heads_goes_on_from_a_number(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, app):
        await started(ask, "adding", {"v": 1}, "r1")
        _, text = await heard(app, "/v1/runs/r1/events?bodies=facts&after=2", {}, lambda text: "stopped" in text)
        found = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: [")]
        assert found == (await ask.get("/v1/runs/r1/heads?after=2&texts=true")).json()["heads"]


@in_loop
async def test_the_shape_of_a_graph_has_its_builders_calls(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        shape = (await ask.get("/v1/runs/r1/shape")).json()
        assert (shape["language"], shape["is_native"], shape["is_read"]) == ("javascript", False, True)
        assert [(item["kind"], item["place"]) for item in shape["items"]] == [
            ("step", "ask"),
            ("event", "wait_for_event_1"),
        ]
        assert ".then(ask)" in shape["builder"]["code"]


@in_loop
async def test_a_workflow_has_its_shape_before_any_run(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        before = (await ask.get("/v1/workflows/asking/shape")).json()
        await started(ask, "asking", {"v": 1}, "r1")
        assert before == (await ask.get("/v1/runs/r1/shape")).json()
        assert [(item["kind"], item["place"]) for item in before["items"]][:1] == [("step", "ask")]
        assert (await ask.get("/v1/workflows/nobody/shape")).status_code == 404


@in_loop
async def test_a_tenants_source_is_read_in_a_process_of_its_own(journal: Journal) -> None:
    body = "async def w(d):\n    for i in range(3):\n        await step('inc')(d)\n"
    source = f"from cloche import step, workflow\n\n@workflow\n{body}"
    store = MemoryStore()
    async with Cloche(store=store, steps=[journal.inc()], policies={"acme": Policy()}) as app:
        version = await app.tenant("acme").deploy(source, workflow="w", language="python")
        shape: Any = await shape_of(store, version.digest)
        assert [(item["kind"], item["text"]) for item in shape["items"]] == [("loop", "for i in range(3)")]


@in_loop
async def test_a_tenants_graph_is_read_there_too(journal: Journal) -> None:
    store, graph = MemoryStore(), create_workflow(id="w").then(journal.inc()).commit().graph.to_json()
    async with Cloche(store=store, steps=[journal.inc()], policies={"acme": Policy()}) as app:
        version = await app.tenant("acme").deploy(graph, workflow="w")
        found = await shape_of(store, version.digest)
        assert (found["is_read"], [item["id"] for item in found["items"]]) == (True, ["inc"])


@in_loop
async def test_a_tenants_source_never_reaches_the_hosts_own_parser(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it holds: deep nesting ends a parser, and that is the reader's."""

    def refuse(*given: Any) -> Any:
        raise AssertionError("it was read in this process")

    monkeypatch.setattr(shapes, "shape_data", refuse)
    store = MemoryStore()
    source = "async def w(d):\n    return " + "-" * 20_000 + "1\n"
    code = Code("w", "0" * 64, source, {}, "", "python", owner="acme")
    digest = blob_digest(code.pack())
    await store.put_blob(digest, code.pack())
    assert await shape_of(store, digest) == {"language": "python", **NOTHING}
