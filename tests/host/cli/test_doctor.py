"""`cloche doctor` and policies: what is in force, what open runs are pinned to, and every bound there is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, in_loop, until
from support.commands import cloche

from cloche import Cloche, Grant, Policy, StepContext, create_step, create_workflow
from cloche.operations.confinement import layers
from cloche.sandbox.process.child import Child
from cloche.sandbox.process.lockdown import Confinement
from cloche.sandbox.process.namespaces import KINDS
from cloche.store import SqliteStore

APP = """
from cloche import Cloche, Grant, Policy

narrow = Policy(timers=3, steps=(Grant(step="mail", arguments={"to": ("ann",)}),))
own = {"acme": Policy(concurrent_runs=10)}
app = Cloche("never-opened.db", policy=narrow, policies=own)
wrong = {"acme": 10}
"""


@pytest.fixture
def app(tmp_path: Path) -> str:
    file = tmp_path / "platform_app.py"
    file.write_text(APP)
    return str(file)


def _named(lines: list[Any], start: str) -> dict[str, Any]:
    return {line["name"]: line for line in lines if line["name"].startswith(start)}


def test_an_app_s_policies_are_told_as_what_differs_from_the_defaults(app: str, store: str, tmp_path: Path) -> None:
    ran = cloche("doctor", "--app", f"{app}:app", "--store", store, "--json")
    found = _named(ran.lines(), "policy")
    steps = [{"step": "mail", "arguments": {"to": ["ann"]}}]
    assert {name: line["differs"] for name, line in found.items()} == {
        "policy": {"timers": 3, "steps": steps},
        "policy of acme": {"concurrent_runs": 10},
    }
    assert found["policy"]["says"] == "timers=3, steps=[mail(…)]"
    assert cloche("doctor", "--app", app, "--store", store, "--json").lines() == ran.lines()  # its only app
    assert not (tmp_path / "never-opened.db").exists()
    alone = _named(cloche("doctor", "--app", f"{app}:narrow", "--store", store, "--json").lines(), "policy")
    assert list(alone) == ["policy"]
    mapping = _named(cloche("doctor", "--app", f"{app}:own", "--store", store, "--json").lines(), "policy")
    assert (mapping["policy"]["says"], mapping["policy of acme"]["says"]) == ("the defaults", "concurrent_runs=10")


def test_what_names_no_policy_is_refused(app: str, store: str) -> None:
    for target, why in (
        (f"{app}:wrong", "not one of tenant to Policy"),
        (f"{app}:Grant", "not a Cloche or Policy or dict; its Cloches are: app"),
        (f"{app}:nothing", "has no 'nothing'; its Cloches are: app"),
    ):
        ran = cloche("doctor", "--app", target, "--store", store)
        assert (ran.code, ran.out) == (2, "")
        assert why in ran.err


def test_open_runs_are_told_with_what_they_are_pinned_to(store: str) -> None:
    async def ask(data: Any, ctx: StepContext) -> Any:
        return ctx.suspend({}) if ctx.resume_data is None else data

    @in_loop
    async def live() -> None:
        asks = create_workflow(id="asks").then(create_step(id="ask", execute=ask)).commit()
        policies = {"acme": Policy(timers=3, memory_bytes=1 << 26, steps=(Grant(step="ask"),))}
        async with AppOn(SqliteStore(store), workflows=[asks], policies=policies) as app:
            for tenant, runs in (("acme", 2), ("default", 1)):
                for _ in range(runs):
                    assert (await (await app.tenant(tenant).start("asks", 1)).result()).status == "suspended"
            await (await app.start("asks", 1, run_id="ended")).result()
            await app.resume("ended", resume_data=1)

    live()
    line = _named(cloche("doctor", "--store", store, "--json").lines(), "pinned policies")["pinned policies"]
    assert line["open_runs"] == [
        {"tenant": "acme", "runs": 2, "differs": {"memory_bytes": 1 << 26, "timers": 3, "steps": [{"step": "ask"}]}},
        {"tenant": "default", "runs": 1, "differs": {}},
    ]
    assert line["says"] == (
        "tenant acme, 2 runs: memory_bytes=67,108,864, steps=[ask], timers=3; tenant default, 1 runs: the defaults"
    )


def test_every_bound_is_listed_from_the_model_itself(app: str) -> None:
    lines = cloche("doctor", "--policy", "--json").lines()
    assert [line["name"] for line in lines] == list(Policy.model_fields)
    for line in lines:
        assert line["default"] == line["value"] == Policy().model_dump(mode="json")[line["name"]]
        assert line["counts"], line["name"]
        assert line["why"].endswith("."), line["name"]
        assert line["strict"] == Policy.strict().model_dump(mode="json")[line["name"]]
        assert (line["why_strict"] == "") is (line["strict"] == line["default"])
    listed = {line["name"]: line for line in cloche("doctor", "--policy", "--app", app, "--json").lines()}
    assert (listed["timers"]["value"], listed["timers"]["default"]) == (3, 100_000)
    assert listed["timers"]["tenants"] == {"acme": 100_000}
    assert listed["concurrent_runs"]["tenants"] == {"acme": 10}
    text = cloche("doctor", "--policy", "--app", app).out
    assert "3 (default: 100,000)  timers of a run that are set: each is kept in memory until it fires.\n" in text
    assert "10  for tenant acme\n" in text


@in_loop
async def test_steps_that_hang_are_told_with_their_worker(store: str) -> None:
    released = threading.Event()

    async def deaf(data: Any) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)

    thread = create_step(id="thread", execute=lambda data: released.wait(60), timeout_s=0.05)
    loop = create_step(id="deaf", execute=deaf, timeout_s=0.05)
    workflow = create_workflow(id="w").parallel([thread, loop]).commit()

    def told() -> Any:
        return _named(cloche("doctor", "--store", store, "--json").lines(), "hung steps")["hung steps"]

    async with Cloche(store, workflows=[workflow]) as app:
        assert (await (await app.start("w", 1)).result()).status == "failed"
        await until(app._running.store.leases.workers, lambda workers: "hung_steps" in (workers[0].offers or ""))
        found = await asyncio.to_thread(told)
        assert (found["ok"], list(found["by_worker"].values())) == (False, [2])
        released.set()
        await until(app._running.store.leases.workers, lambda workers: "hung_steps" not in (workers[0].offers or ""))
        found = await asyncio.to_thread(told)
        assert (found["ok"], found["says"]) == (True, "none")


LAYERS = {
    "landlock": ({"landlock": 7}, "no process outside signalled", "Linux 5.13"),
    "seccomp": ({"seccomp": True}, "are refused: for files", "CONFIG_SECCOMP_FILTER"),
    "namespaces": (
        {"namespaces": frozenset({"net", "mount"})},
        "no network device, an empty root",
        "user.max_user_namespaces",
    ),
    "cgroup": ({"cgroup": True}, "shared out by tenant", "Delegate=yes"),
    "capabilities": ({"capabilities": 0}, "none can be had again", "not known"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_says_what_it_means_and_what_to_do(name: str) -> None:
    held, means, advice = LAYERS[name]
    for found, ok, says in ((Confinement(**held), True, means), (Confinement(), None, advice)):  # type: ignore[arg-type]
        [line] = [one for one in layers(found) if one.name == name]
        assert (line.ok, says in line.says) == (ok, True), line.says


def test_each_layer_that_holds_a_process_is_told(store: str) -> None:
    child = Child(patience_s=10.0)
    child.end()
    lines = {line["name"]: line for line in cloche("doctor", "--store", store, "--json").lines()}
    told = {one.name: one.ok is True for one in layers(child.confinement)}
    assert {name: lines[name]["is_held"] for name in told} == told
    by = ", ".join(name for name, is_held in told.items() if is_held)
    assert lines["cell processes"]["says"] == f"locked up by {by or 'nothing on this kernel but limits'}"


@pytest.mark.skipif(not Path("/proc/self/ns").is_dir(), reason="this system does not tell")
@pytest.mark.parametrize("entry", ["serve", "reading"])
def test_what_is_told_is_what_the_kernel_says_of_a_process(entry: str) -> None:
    """Of one with cells, and of one that reads what a tenant has brought."""
    child = Child(patience_s=10.0, entry=f"cloche.sandbox.process.{entry}")
    told, process = child.confinement, Path(f"/proc/{child.pid}")
    lines = (process / "status").read_text().splitlines()
    says = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    own = {kind for kind in KINDS if _namespace(process, kind) != _namespace(Path("/proc/self"), kind)}
    child.end()
    assert says["Uid"] == [str(told.user)] * 4
    assert {int(says[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {told.capabilities}
    assert (says["NoNewPrivs"], says["Groups"]) == (["1"], [])
    assert (says["Seccomp"] == ["2"]) is told.seccomp
    assert own == told.namespaces


def _namespace(process: Path, kind: str) -> str:
    return os.readlink(process / "ns" / {"mount": "mnt"}.get(kind, kind))
