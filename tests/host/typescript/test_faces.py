"""TypeScript at every face: the command line, `load_bundle`, a tenant's deploy, HTTP. What is wrong is told by the author's line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from guest.cells import SEED, pack
from support.apps import in_loop
from support.commands import cloche as command
from support.served import served
from support.world_testing import flow_file

import cloche
from cloche import Cloche, Grant, Policy, SandboxEngine
from cloche.errors import CompileError, DeployRefused, TargetError, UsageError
from cloche.sandbox import Cell, Limits, base_image, cells, load_image
from cloche.sandbox.mapped_images import MappedImages

FLOW = """import { price } from "./price";
export async function order(item: { name: string }): Promise<string> {
  "use workflow";
  const paid = await pay(item.name, price(item.name));
  if (paid === "no") {
    throw new Error(`not paid: ${item.name}`);
  }
  return paid;
}
export async function other(): Promise<number> {
  "use workflow";
  return 2;
}
async function pay(name: string, amount: number): Promise<string> {
  "use step";
  return `${name}: ${amount}`;
}
"""
PRICE = "export function price(name: string): number {\n  return name.length;\n}\n"
STEPS = """def pay(name, amount):
    return "no" if name == "bad" else f"{name}: {amount}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flow.ts").write_text(FLOW)
    (tmp_path / "price.ts").write_text(PRICE)
    (tmp_path / "steps.py").write_text(STEPS)
    return tmp_path


def pay(name: str, amount: int) -> str:
    return "no" if name == "bad" else f"{name}: {amount}"


PAY = cloche.create_step(id="pay", execute=pay)


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_run_executes_a_workflow_of_a_file(project: Path) -> None:
    asked = ["--steps", str(project / "steps.py"), "--store", str(project / "s.db"), "--run-id", "r1"]
    done = command("run", f"{project}/flow.ts:order", "--input", '[{"name": "tea"}]', *asked)
    assert (done.code, done.out.strip()) == (0, '"tea: 3"')
    assert command("replay", "r1", "--store", str(project / "s.db")).code == 0


def test_a_failure_is_told_by_the_authors_line(project: Path) -> None:
    asked = ["--steps", str(project / "steps.py"), "--store", str(project / "s.db"), "--run-id", "r1"]
    done = command("run", f"{project}/flow.ts:order", "--input", '[{"name": "bad"}]', *asked)
    assert done.code == 1
    assert "flow.ts:6:" in done.err
    shown = command("show", "r1", "--store", str(project / "s.db"))
    assert "flow.ts:6:" in shown.out + shown.err


def test_a_wrong_import_ends_with_two_and_the_line(project: Path) -> None:
    (project / "price.ts").write_text(
        'import { readFileSync } from "node:fs";\nexport const price = (name: string) => readFileSync(name).length;\n'
    )
    done = command("run", f"{project}/flow.ts:order")
    assert done.code == 2
    assert "price.ts:1:1: 'node:fs' cannot be used in a workflow, only in a step: readFileSync" in done.err


def test_compile_says_what_is_in_a_file(project: Path) -> None:
    told = command("compile", str(project / "flow.ts"), "--json").json()
    assert [one["id"] for one in told["workflows"]] == ["workflow//./flow//order", "workflow//./flow//other"]
    assert [(one["id"], one["line"]) for one in told["steps"]] == [("step//./flow//pay", 14)]
    assert told["files"] == ["price.ts", "flow.ts"]
    lines = command("compile", str(project / "flow.ts")).out.splitlines()
    assert next(line.split() for line in lines) == ["workflow", "order", "workflow//./flow//order", "flow.ts:2"]


def test_compile_tells_every_problem_as_json_too(project: Path) -> None:
    (project / "flow.ts").write_text("export const a = ;\n")
    done = command("compile", str(project / "flow.ts"), "--json")
    assert (done.code, done.json()["problems"][0]["line"], done.json()["problems"][0]["column"]) == (2, 1, 18)


def test_what_compile_writes_is_a_bundle_that_runs(project: Path) -> None:
    out = project / "out.js"
    assert command("compile", str(project / "flow.ts"), "--out", str(out)).code == 0
    done = command("run", f"{out}:other", "--store", str(project / "s.db"))
    assert (done.code, done.out.strip()) == (0, "2")


def test_codegen_shows_what_was_written(project: Path) -> None:
    told = command("codegen", f"{project}/flow.ts:order")
    assert told.out == f"// price.ts\n{PRICE}// flow.ts\n{FLOW}"


def test_deploy_keeps_each_workflow_of_a_file(project: Path) -> None:
    asked = ["--tenant", "acme", "--store", str(project / "s.db"), "--json"]
    kept = command("deploy", str(project / "flow.ts"), *asked).lines()
    assert [(one["workflow"], one["not_granted"]) for one in kept] == [
        ("order", ["step//./flow//pay"]),
        ("other", ["step//./flow//pay"]),
    ]
    assert command("deploy", str(project / "flow.ts"), "--workflow", "none", *asked).code == 2


# ── a program ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@in_loop
async def test_a_step_of_this_process_is_found_by_the_name_of_its_function(project: Path) -> None:
    bundle = cloche.load_bundle(project / "flow.ts")
    assert [one.id for one in bundle.workflows] == ["order", "other"]
    assert bundle.steps == ["step//./flow//pay"]
    async with Cloche(workflows=bundle.workflows, steps=[PAY]) as app:
        run = await app.start(bundle.workflow("order"), [{"name": "tea"}])
        assert (await run.result()).unwrap() == "tea: 3"


def test_two_workflows_of_one_name_are_called_by_their_whole_ids(project: Path) -> None:
    (project / "more.ts").write_text(
        'export * from "./flow";\nexport async function order() { "use workflow"; return 1; }\n'
    )
    ids = [one.id for one in cloche.load_bundle(project / "more.ts").workflows]
    assert ids == ["workflow//./flow//order", "other", "workflow//./more//order"]


def test_a_workflow_that_is_not_there_is_told_with_those_that_are(project: Path) -> None:
    with pytest.raises(TargetError, match="there is no workflow 'none'; there are: order, other"):
        cloche.load_bundle(project / "flow.ts").workflow("none")
    with pytest.raises(TargetError, match="it is not said which workflow"):
        cloche.load_bundle(project / "flow.ts").workflow()


# ── a tenant ────────────────────────────────────────────────────────────────────────────────────────────────────────────
GRANTED = Policy.strict(steps=[Grant(step="pay")])
FILES: dict[str, str | bytes] = {"flow.ts": FLOW, "price.ts": PRICE.encode()}


@in_loop
async def test_a_tenant_deploys_several_files() -> None:
    async with Cloche(steps=[PAY], policies={"acme": GRANTED}) as app:
        version = await app.deploy("acme", files=FILES, main="flow.ts", language="typescript", workflow="order")
        assert version.workflow == "order"
        run = await app.tenant("acme").start(version, [{"name": "tea"}])
        assert (await run.result()).unwrap() == "tea: 3"


@in_loop
async def test_a_grant_is_of_the_step_and_not_of_a_name_that_a_tenant_gives_it() -> None:
    whole = cloche.create_step(id="step//./flow//pay", execute=lambda name, amount: "another")
    async with Cloche(steps=[PAY, whole], policies={"acme": GRANTED}) as app:
        await app.deploy("acme", files=FILES, main="flow.ts", workflow="order")
        run = await app.tenant("acme").start("order", [{"name": "tea"}])
        result = await run.result()
        assert result.error is not None
        assert "step 'step//./flow//pay' is not granted" in result.error.message


@in_loop
async def test_one_source_is_called_flow_and_its_only_workflow_is_meant() -> None:
    async with Cloche() as app:
        text = 'export async function only(n: number): Promise<number> { "use workflow"; return n + 1; }'
        version = await app.deploy("acme", text, language="typescript")
        assert version.workflow == "only"
        assert (await (await app.tenant("acme").start("only", [1])).result()).unwrap() == 2
        assert await app.deploy("acme", text, language="typescript") == version


@in_loop
async def test_what_a_tenant_may_not_deploy_is_told_by_its_line() -> None:
    async with Cloche(policies={"small": Policy.strict().model_copy(update={"source_bytes": 100})}) as app:
        with pytest.raises(DeployRefused, match=r"cannot be deployed: flow\.ts:2:7: 'fs' cannot be used") as refused:
            await app.deploy(
                "acme",
                '\n      import fs from "fs";\nexport async function w() { "use workflow"; return fs; }',
                language="typescript",
            )
        assert (refused.value.facts["reason"], refused.value.facts["line"], refused.value.facts["column"]) == (
            "compile",
            2,
            7,
        )
        with pytest.raises(DeployRefused, match="has more than 100 bytes"):
            await app.deploy("small", files=FILES, main="flow.ts", workflow="order")
        with pytest.raises(DeployRefused, match=r"say which workflow is meant.*order, other"):
            await app.deploy("acme", files=FILES, main="flow.ts")
        with pytest.raises(DeployRefused, match=r"there is no file nowhere\.ts"):
            await app.deploy("acme", files=FILES, main="nowhere.ts")
        with pytest.raises(DeployRefused, match=r"flow\.ts:2:9: ReferenceError: nowhere is not defined|flow\.ts:2:9"):
            await app.deploy(
                "acme", '\nvoid 0, nowhere.x;\nexport async function w() { "use workflow"; }', language="typescript"
            )


@in_loop
async def test_no_file_of_the_host_is_read_for_a_tenant(tmp_path: Path) -> None:
    (tmp_path / "secret.ts").write_text("export const secret = 1;")
    async with Cloche() as app:
        for name in (f"{tmp_path}/secret", "../" * 20 + f"{tmp_path}/secret", "file:///etc/passwd"):
            text = f'import {{ secret }} from "{name}";\nexport async function w() {{ "use workflow"; return secret; }}'
            with pytest.raises(DeployRefused, match=r"flow\.ts:1:1"):
                await app.deploy("acme", text, language="typescript")


HOSTILE = {
    "deep": "export const a = " + "(" * 20_000 + ")" * 20_000 + ";",
    "deep types": "type A = " + "[" * 20_000 + "]" * 20_000 + ";",
    "deep blocks": "{" * 20_000 + "}" * 20_000,
    "long": "x;" * 300_000,
    "one line": "const a = [" + "1," * 400_000 + "];",
    "expression": "/" + "(a*)*" * 20_000 + "/;",
    "template": "`${" * 5_000,
    "generics": "a" + "<b" * 10_000 + ">" * 10_000 + "()",
    "arrows": "(a, b = " * 2_000,
    "null": "\0\0",
    "surrogate": "const a = '\ud800';",
}


@pytest.mark.parametrize("name", HOSTILE)
@in_loop
async def test_a_hostile_source_is_refused_and_nothing_else_is_held_up(name: str) -> None:
    async with Cloche() as app:
        with pytest.raises((DeployRefused, UsageError)):
            await app.deploy("mallory", HOSTILE[name], language="typescript", workflow="w")
        fine = await app.deploy(
            "acme", 'export async function w() { "use workflow"; return 1; }', language="typescript"
        )
        assert (await (await app.tenant("acme").start(fine, [])).result()).unwrap() == 1


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@in_loop
async def test_typescript_is_deployed_and_shown_over_http() -> None:
    async with served() as (ask, _):
        text = 'export async function only(n: number) { "use workflow"; return n; }\n'
        made = await ask.post("/v1/workflows/only/versions", json={"source": text, "language": "typescript"})
        assert made.status_code == 201
        started = await ask.post("/v1/workflows/only/runs", json={"input": [3], "run_id": "r1"})
        assert started.status_code in (200, 201, 202)
        shown = (await ask.get("/v1/runs/r1/source")).json()
        assert (shown["language"], shown["files"]) == ("typescript", {"flow.ts": text})
        broken = await ask.post(
            "/v1/workflows/only/versions", json={"source": "const a: = 1", "language": "typescript"}
        )
        assert (broken.status_code, broken.json()["line"]) == (422, 1)


# ── scripts of another builder ──────────────────────────────────────────────────────────────────────────────────────────
def test_the_module_of_another_builder_is_a_bundle() -> None:
    file = flow_file()
    if file is None:
        pytest.skip("npm did not bring @workflow/world-testing")
    bundle = cloche.load_bundle(file)
    assert len(bundle.workflows) == 18
    assert len({one.source().digest for one in bundle.workflows}) == 1  # one image for all
    assert "step//./workflows/addition//add" in bundle.steps


def test_cells_of_a_large_bundle_share_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    file = flow_file()
    if file is None:
        pytest.skip("npm did not bring @workflow/world-testing")
    monkeypatch.setattr(cells, "mapped_images", MappedImages(lambda make: make()))
    source = cloche.load_bundle(file).workflows[0].source().code
    image = load_image(base_image(*SandboxEngine().guest()), source, Limits())
    made = [Cell(image, Limits()) for _ in range(4)]
    start: dict[str, Any] = {"run": {"id": "r", "entry": "addition", "spread": True}}
    made[-1].turn([pack([0, 1_700_000_000_000, SEED, [1, 2], start])])
    assert made[0].resident_bytes > 5_000_000
    assert made[-1].resident_bytes < 1_000_000


def test_a_script_that_cannot_be_compiled_is_told(tmp_path: Path) -> None:
    (tmp_path / "flow.js").write_text('export async function w() { "use workflow"; return @; }')
    with pytest.raises(CompileError, match=r"flow\.js:1:52"):
        cloche.load_bundle(tmp_path / "flow.js")
