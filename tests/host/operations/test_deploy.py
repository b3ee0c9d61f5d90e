"""Code that tenants bring at run time: what is kept of it, what starts with it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, ended, in_loop
from support.guests import needs_python

from cloche import Cloche, RetryConfig, create_workflow, path
from cloche.engines import CellSource, Code, Language, ProcessEngine, SandboxEngine
from cloche.errors import DeployRefused, ForeignFile, InvalidInput, NotFound, RunConflict
from cloche.history import TenantId, TimeMs
from cloche.operations import deploy
from cloche.store import MemoryStore, Version, blob_digest
from cloche.tenancy import Policy

WIDE = Policy()  # the steps that are registered may be called
STEP = 'const step = (id) => globalThis[Symbol.for("WORKFLOW_USE_STEP")](id);\n'
TWICE = STEP + "export default async (input) => { const a = await step('inc')(input); return await step('dbl')(a); };\n"
ONCE = STEP + "export default async (input) => await step('inc')(input);\n"
IN_PYTHON = """
from cloche import step, workflow

@workflow
async def w(data):
    return await step("inc")(data)
"""


async def source(app: Cloche, text: str, tenant: str = "acme", workflow: str = "w") -> Version:
    return await app.deploy(tenant, text, workflow=workflow, language="javascript")


async def refusal(
    app: Cloche, content: Any, language: Language | None = "javascript", workflow: str | None = "w"
) -> DeployRefused:
    """Why it is refused; it has left nothing behind."""
    with pytest.raises(DeployRefused) as refused:
        await app.deploy("acme", content, workflow=workflow, language=language)
    assert await app.tenant("acme").versions() == []
    assert (await app._running.store.collect(lambda packed: [])).blobs == 0
    assert (refused.value.tenant, refused.value.workflow) == ("acme", workflow)
    return refused.value


@in_loop
async def test_source_is_deployed_once_and_started_by_workflow_or_version(journal: Journal) -> None:
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc(), journal.dbl()]) as app:
        acme = app.tenant("acme")
        first, second = await source(app, TWICE), await source(app, ONCE)
        assert (first.workflow, first.id == second.id) == ("w", False)
        assert [await ended(await acme.start(what, {"v": 1})) for what in ("w", first, first.id, second)] == [
            ("success", {"v": v}) for v in (2, 4, 4, 2)
        ]
        assert [one.id for one in await acme.versions()] == [second.id, first.id]
        assert (await app.verify()).ok


@in_loop
async def test_the_same_content_is_the_same_version_and_the_current_one_again(journal: Journal) -> None:
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc(), journal.dbl()]) as app:
        first, _ = await source(app, TWICE), await source(app, ONCE)
        assert await source(app, TWICE) == first
        assert len(await app.tenant("acme").versions("w")) == 2
        assert await ended(await app.tenant("acme").start("w", {"v": 1})) == ("success", {"v": 4})


@in_loop
async def test_a_later_process_needs_the_steps_alone(tmp_path: Path, journal: Journal) -> None:
    graph = (
        create_workflow(id="g").then(journal.inc()).map({"v": path("inputData.v")}).then(journal.ask()).commit().graph
    )
    async with Cloche(tmp_path / "s.db") as app:
        deployed = [
            await source(app, TWICE),
            await app.deploy("acme", graph.to_json()),
            await app.deploy("acme", graph),
        ]
    assert deployed[1] == deployed[2]
    async with Cloche(tmp_path / "s.db", policy=WIDE, steps=[journal.inc(), journal.dbl(), journal.ask()]) as app:
        acme = app.tenant("acme")
        assert await ended(await acme.start("w", {"v": 1})) == ("success", {"v": 4})
        assert (await (await acme.start("g", {"v": 1}, run_id="r1")).result()).status == "suspended"
    async with Cloche(tmp_path / "s.db", policy=WIDE, steps=[journal.ask()]) as app:
        assert (await app.prune()).blobs == 0
        assert (await app.tenant("acme").resume("r1", resume_data={"add": 3})).result == {"v": 5}
        assert (await app.tenant("acme").replay("r1")).ok
        assert await app.tenant("acme").versions() == [deployed[1], deployed[0]]


@in_loop
async def test_python_source_is_deployed_likewise(journal: Journal) -> None:
    needs_python()
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc()]) as app:
        await app.deploy("acme", IN_PYTHON, workflow="w", language="python")
        assert await ended(await app.tenant("acme").start("w", {"v": 1})) == ("success", {"v": 2})
        with pytest.raises(DeployRefused, match="SyntaxError") as refused:
            await app.deploy("acme", "x = (\n", workflow="x", language="python")
        assert (refused.value.reason, refused.value.line) == ("load-failed", 1)


@in_loop
async def test_a_version_is_its_tenants_own_and_no_workflow_of_the_hosts(journal: Journal) -> None:
    host = create_workflow(id="w", input_schema={"type": "integer"}).then(journal.dbl()).commit()
    reported: list[str] = []
    host.on_finish = lambda result: reported.append(result.run_id)
    async with AppOn(MemoryStore(), policy=WIDE, workflows=[host], steps=[journal.inc()]) as app:
        version = await source(app, ONCE)
        run = await app.tenant("acme").start("w", {"v": 1})
        assert await ended(run) == ("success", {"v": 2})
        with pytest.raises(InvalidInput):
            await app.tenant("umbra").start("w", {"v": 1})  # what the host has registered
        with pytest.raises(NotFound, match="tenant umbra has deployed no workflow"):
            await app.tenant("umbra").start(version, {"v": 1})
        assert reported == []
        with pytest.raises(RunConflict):
            await app.tenant("acme").start(version, {"v": 2}, run_id=run.id)


@in_loop
async def test_the_schemas_of_a_deployed_graph_are_checked(journal: Journal) -> None:
    schema = {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}
    graph = (
        create_workflow(id="g", input_schema=schema).then(journal.inc()).wait_for_event("paid", schema=schema).commit()
    )
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc()]) as app:
        await app.deploy("acme", graph.graph)
        acme = app.tenant("acme")
        with pytest.raises(InvalidInput, match="the input of workflow 'g'"):
            await acme.start("g", {"v": "one"})
        run = await acme.start("g", {"v": 1})
        with pytest.raises(InvalidInput, match="what event 'paid' carries"):
            await acme.send_event(run.id, "paid", {})
        await acme.send_event(run.id, "paid", {"v": 7})
        assert await ended(run) == ("success", {"v": 7})


def _graph_with(pattern: str) -> str:
    """A graph that compares its input and what its event carries with a pattern."""
    workflow = create_workflow(id="g", input_schema=_TEXT).wait_for_event("paid", schema=_TEXT).commit()
    return workflow.graph.to_json().replace("^known$", pattern)


_TEXT = {"type": "string", "pattern": "^known$", "maxLength": 40}


@in_loop
async def test_the_patterns_of_a_deployed_graph_do_not_stop_the_process() -> None:
    async with AppOn(MemoryStore()) as app:
        await app.deploy("acme", _graph_with("^(a+)+$"))
        acme, hostile = app.tenant("acme"), "a" * 30 + "!"
        with pytest.raises(InvalidInput, match=r"pattern '\^\(a\+\)\+\$'"):
            await acme.start("g", hostile)
        run = await acme.start("g", "aa")
        with pytest.raises(InvalidInput, match="what event 'paid' carries"):
            await acme.send_event(run.id, "paid", hostile)
        await acme.send_event(run.id, "paid", "aaa")
        assert await ended(run) == ("success", "aaa")


@in_loop
async def test_a_pattern_that_cannot_be_used_is_refused_with_its_place() -> None:
    async with AppOn(MemoryStore()) as app:
        error = await refusal(app, _graph_with("(?=a)a"), None, workflow=None)
        assert [(one["code"], one["path"]) for one in error.problems] == [
            ("bad_schema", "g"),
            ("bad_schema", "g/wait_for_event_1"),
        ]
        assert "g: input_schema: its JSON Schema cannot be used: pattern: the pattern '(?=a)a' cannot" in error.message


@in_loop
async def test_what_was_deployed_with_such_a_pattern_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """The rest of its schema is checked: the pattern would protect the tenant's own code alone."""
    async with AppOn(MemoryStore()) as app:
        await app.deploy("acme", _graph_with("^b"))
        acme, store = app.tenant("acme"), app._running.store
        code = Code.unpack(await store.blob((await acme.versions())[0].digest))  # type: ignore[arg-type]
        old = replace(code, graph=_graph_with("(?=a)a")).pack()
        digest = blob_digest(old)
        await store.deploy(Version(TenantId("acme"), "g@old", "g", digest, TimeMs(0)), {digest: old})
        run = await acme.start("g@old", "x")
        with pytest.raises(InvalidInput, match="at most 40 characters"):
            await acme.send_event(run.id, "paid", "x" * 41)
        await acme.send_event(run.id, "paid", "y")
        assert await ended(run) == ("success", "y")
        warnings = [text for text in caplog.messages if "is not checked by all of its schema" in text]
        assert len(warnings) == 2


@in_loop
async def test_twenty_problems_of_a_graph_are_told() -> None:
    graph = json.loads(_graph_with("^b"))
    graph["nodes"] = [{"type": "step", "id": f"n{number}", "step": f"s{number}"} for number in range(5_000)]
    graph["steps"] = {f"known{number}": {} for number in range(5_000)}
    async with AppOn(MemoryStore()) as app:
        for broken in (json.dumps(graph), json.dumps({**graph, "nodes": [{"type": "nonsense"}] * 5_000})):
            error = await refusal(app, broken, None, workflow=None)
            assert (len(error.problems), error.problem_count) == (20, 5_000)
            assert len(error.message.splitlines()) == 1 + 20 + 1
            assert error.message.endswith("and 4980 more")


RETRIES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], int]] = [
    ({}, {"retries": 1_000}, {}, 1),  # the host's step, what the graph says of it and of all steps, attempts
    ({"retries": 2}, {"retries": 1_000}, {}, 3),
    ({"retries": 2}, {"retries": 1}, {}, 2),
    ({"retries": 2}, {}, {}, 3),
    ({"retries": 2}, {}, {"attempts": 1}, 2),
    ({}, {}, {"attempts": 1_000}, 1),
    ({"retry_config": {"attempts": 2}}, {"retry_config": {"attempts": 9}}, {}, 3),
    ({"at_most_once": True}, {"retries": 1_000}, {"attempts": 1_000}, 1),
]


@in_loop
@pytest.mark.parametrize(("of_step", "said", "of_all", "attempts"), RETRIES)
async def test_the_hosts_step_bounds_the_retries_of_a_deployed_graph(
    journal: Journal, of_step: dict[str, Any], said: dict[str, Any], of_all: dict[str, Any], attempts: int
) -> None:
    boom = journal.step("boom", _fails, **of_step)
    graph = json.loads(create_workflow(id="g").then(journal.boom()).commit().graph.to_json())
    graph["steps"]["boom"] |= said
    graph |= {"retry_config": of_all} if of_all else {}
    async with AppOn(MemoryStore(), policy=WIDE, steps=[boom]) as app:
        await app.deploy("acme", json.dumps(graph))
        status, _ = await ended(await app.tenant("acme").start("g", {"v": 1}))
        assert (status, len(journal.calls)) == ("failed", attempts)


@in_loop
async def test_the_hosts_own_workflow_keeps_its_retries(journal: Journal) -> None:
    """Also where a tenant has deployed the same graph."""
    host = create_workflow(id="g", retry_config=RetryConfig(attempts=2)).then(journal.boom()).commit()
    async with AppOn(MemoryStore(), policy=WIDE, workflows=[host]) as app:
        await app.deploy("acme", host.graph)
        await ended(await app.tenant("acme").start("g", {"v": 1}))
        assert len(journal.calls) == 1
        await ended(await app.start(host, {"v": 1}))
        assert len(journal.calls) == 1 + 3


def _fails(_: Any) -> None:
    raise ValueError("no")


@in_loop
async def test_a_withdrawn_version_starts_nothing_and_its_runs_go_on(journal: Journal) -> None:
    asks = STEP + "export default async (input) => await step('ask')(input);\n"
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.ask()]) as app:
        acme, version = app.tenant("acme"), await source(app, asks)
        await (await acme.start("w", {"v": 1}, run_id="r1")).result()
        await acme.withdraw(version)
        with pytest.raises(NotFound):
            await acme.start("w", {"v": 1})
        with pytest.raises(NotFound, match="has no version"):
            await acme.withdraw(version.id)
        assert (await app.prune()).blobs == 0
        assert (await acme.resume("r1", resume_data={"add": 1})).result == {"v": 2}


@in_loop
@pytest.mark.parametrize("engine", [SandboxEngine, ProcessEngine])
async def test_a_refusal_names_line_and_reason_and_leaves_nothing_behind(engine: Callable[[], CellSource]) -> None:
    async with AppOn(MemoryStore(), engine=engine()) as app:
        error = await refusal(app, "export default async () => 1;\n\nconst a = ;\n")
        assert (error.reason, error.line) == ("load-failed", 3)
        assert "workflow 'w' of tenant acme cannot be deployed: line 3: " in error.message
        assert "SyntaxError" in error.message
        error = await refusal(app, "\nthrow new RangeError('not today');\n")
        assert error.reason == "load-failed"
        assert "RangeError: not today" in error.message
        assert (await refusal(app, "export const a = 1;")).reason == "load-failed"
        assert (await refusal(app, "import 'fs'; export default 1")).reason == "load-failed"


@in_loop
@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("while (true) {}", "fuel-exhausted"),
        ("const a = []; while (true) a.push(new Uint8Array(1 << 20).fill(1));", "memory-exhausted"),
        ("await new Promise(() => {});", "load-failed"),
        ("(function f() { f(); })();", "load-failed"),
        ("Promise.resolve().then(function again() { return Promise.resolve().then(again); });", "fuel-exhausted"),
    ],
)
async def test_a_hostile_top_level_ends_in_a_typed_error(hostile: str, reason: str) -> None:
    async with AppOn(MemoryStore(), policy=Policy(fuel_per_load=300_000_000)) as app:
        error = await refusal(app, hostile + "\nexport default async () => 1;\n")
        assert error.reason == reason
        met = {"fuel-exhausted": ("fuel_per_load", 300_000_000), "memory-exhausted": ("memory_bytes", 128 << 20)}
        assert (error.facts.get("limit"), error.facts.get("value")) == met.get(reason, (None, None))


@in_loop
async def test_a_graph_with_problems_is_refused_with_each_of_them(journal: Journal) -> None:
    graph = json.loads(create_workflow(id="w").then(journal.inc()).commit().graph.to_json())
    async with AppOn(MemoryStore()) as app:
        for broken in ("not JSON", "[" * 100_000, json.dumps({**graph, "nodes": [{"type": "nonsense"}]})):
            error = await refusal(app, broken, None)
            assert error.problems, broken[:20]
        missing = json.dumps({**graph, "steps": {}})
        assert "inc" in (await refusal(app, missing, None)).message
        with pytest.raises(DeployRefused, match="its graph is that of workflow 'w'"):
            await app.deploy("acme", json.dumps(graph), workflow="other")


@in_loop
async def test_what_is_too_large_or_has_no_id_is_refused_before_it_is_read() -> None:
    async with AppOn(MemoryStore(), policies={"acme": Policy(source_bytes=1_000)}) as app:
        error = await refusal(app, "x" * 1_001)
        assert (error.reason, error.limit, error.value, error.asked) == ("limit-exceeded", "source_bytes", 1_000, 1_001)
        assert (await refusal(app, ONCE, workflow="a\nb")).reason == "bad-id"
        assert (await refusal(app, ONCE, workflow=None)).message == (
            "the code of tenant acme cannot be deployed: give the workflow an id of 1 to 200 bytes without control characters: "
            "deploy(…, workflow='…')"
        )


@in_loop
async def test_the_versions_of_a_tenant_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "VERSIONS_MAX", 2)
    async with AppOn(MemoryStore()) as app:
        first, _ = await source(app, ONCE), await source(app, TWICE)
        with pytest.raises(DeployRefused, match="2 versions are deployed: withdraw some"):
            await source(app, ONCE + "// and more\n")
        assert await source(app, ONCE) == first
        await source(app, ONCE, tenant="umbra")
        await app.tenant("acme").withdraw(first)
        await source(app, ONCE, workflow="other")


@in_loop
async def test_a_file_cannot_give_a_tenant_the_code_of_another(journal: Journal) -> None:
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc()]) as app:
        version = await source(app, ONCE)
        run = await app.tenant("acme").start(version, {"v": 1})
        await run.result()
        exported = await app.tenant("acme").export(run.id)
    async with AppOn(MemoryStore(), policy=WIDE, steps=[journal.inc()]) as other:
        assert await ended(await other.import_(exported)) == ("success", {"v": 2})
    code = Code("w", "guest", "", {}, "", owner="acme")
    assert Code.unpack(code.pack()) == code
    async with AppOn(MemoryStore()) as app:
        await source(app, ONCE)
        stolen = (await app.store.versions(version.tenant))[0]
        key = (await app.start(_host(journal), {"v": 1}, run_id="r1"))._key
        await (await app.get("r1")).result()
        row = app.store._data.rows[key]  # type: ignore[attr-defined]
        app.store._data.rows[key] = replace(row, code=stolen.digest)  # type: ignore[attr-defined]
        forged = await app.export("r1")
        await app.delete("r1")
        with pytest.raises(ForeignFile, match="another tenant"):
            await app.import_(forged)


def _host(journal: Journal) -> Any:
    return create_workflow(id="w").then(journal.inc()).commit()
