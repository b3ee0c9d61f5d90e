"""Places and memory: more tenants than processes, turns that fill much memory, what the kernel bounds by group."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript, python
from support.apps import AppOn, in_loop, until
from support.guests import needs_python

from cloche import Grant, Limits, Policy, ProcessEngine, create_step
from cloche.engines import Code, Language, SandboxEngine
from cloche.errors import CellBusy, HeavyTurn
from cloche.history import TenantId, TimeMs
from cloche.history.messages import Started
from cloche.sandbox import Cell
from cloche.sandbox.process import cgroups
from cloche.sandbox.process.child import Child
from cloche.sandbox.process.namespaces import KINDS
from cloche.store import MemoryStore

START = Started(TimeMs(1_700_000_000_000), bytes(16), None, {}).pack()
nothing = create_step(id="nothing", execute=lambda data: data)
LOOPS = "for (let n = 0; n < 30; n++) await step('nothing')(n); return 1;"
FOREVER = "for (;;) await step('nothing')(1);"
GRANTED = Policy.strict(steps=[Grant(step="nothing")])


@in_loop
async def test_more_tenants_than_processes_are_served_in_turns() -> None:
    """The sixty-fifth ended the process of another, at once and again and again."""
    with ProcessEngine(processes=2, share_s=0.05) as engine:
        async with AppOn(MemoryStore(), engine=engine, steps=[nothing], policy=GRANTED) as app:
            runs = []
            for tenant in ("ada", "bob", "dan", "eve", "fay"):
                await app.deploy(tenant, javascript(LOOPS), workflow="w", language="javascript")
                runs.append(await app.tenant(tenant).start("w", 1))
            for run in runs:
                assert (await run.result()).unwrap() == 1
                assert len(engine.processes()) <= 2
            assert engine.waiting() == []


@in_loop
async def test_who_waits_for_a_process_holds_no_thread() -> None:
    waiting = ("bob", "dan", "eve", "fay")
    with ProcessEngine(processes=1, share_s=60.0) as engine:
        async with AppOn(MemoryStore(), engine=engine, steps=[nothing], policy=Policy()) as app:
            for tenant in ("ada", *waiting):
                await app.deploy(tenant, javascript(FOREVER), workflow="w", language="javascript")
            await app.tenant("ada").start("w", 1, run_id="r")
            starts = [asyncio.create_task(app.tenant(tenant).start("w", 1, run_id="r")) for tenant in waiting]
            await until(lambda: len(engine.waiting()) == len(waiting))
            lanes = app._running.services.lanes
            assert await lanes.heavy.call(TenantId("gus"), lambda: "at once") == "at once"
            for start in starts:
                start.cancel()
            await app.tenant("ada").cancel("r")


# ---- memory that is touched ------------------------------------------------------------------------------------------

FILLS: dict[Language, str] = {
    "javascript": javascript(
        "const all = new Uint8Array(60 << 20).fill(1); await step('nothing')(1); return all.length;"
    ),
    "python": python("kept = bytearray(b'x') * (60 << 20)\nawait step('nothing')(1)\nreturn len(kept)"),
}


@pytest.mark.parametrize("language", FILLS)
def test_a_turn_that_fills_much_memory_is_not_light(language: Language) -> None:
    """One instruction fills it, which no clock stops: it held the loop for 190 ms."""
    if language == "python":
        needs_python()
    engine = SandboxEngine()
    code = Code("w", engine.guest(language)[0], FILLS[language], {}, "", language)
    cells = [engine.open(code, lambda: b"", Limits(), TenantId("mallory")) for _ in range(2)]
    with pytest.raises(HeavyTurn):
        cells[0].turn([START], light=True)
    assert cells[1].turn([START])
    with pytest.raises(CellBusy):  # it is as it was
        cells[1].turn([START], light=True)


@pytest.mark.parametrize("language", FILLS)
def test_a_large_cell_is_used_beside_the_loop(mode: Mode, language: Language) -> None:
    """Turns, checkpoints and what goes on from them."""
    if language == "python":
        needs_python()
    threads: dict[str, set[threading.Thread]] = {}

    def noting(name: str) -> Any:
        function = getattr(Cell, name)

        def noted(*given: Any, **named: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread())
            return function(*given, **named)

        return noted

    @in_loop
    async def live(monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("freeze", "state"):
            monkeypatch.setattr(Cell, name, noting(name))
        store, policy = MemoryStore(), GRANTED.model_copy(update={"memory_bytes": Limits().memory_bytes})
        for times in range(2):
            engine = ENGINES[mode](Limits())
            async with AppOn(store, engine=engine, steps=[nothing], policy=policy, checkpoint_every=1) as app:
                mallory = app.tenant("mallory")
                if times == 0:
                    source = FILLS[language].replace("return", "await cloche.waitForEvent('w', 'go', 0); return", 1)
                    source = (
                        source
                        if language == "javascript"
                        else FILLS[language].replace("return", "await cloche.wait_for_event('go')\n    return", 1)
                    )
                    await app.deploy("mallory", source, workflow="w", language=language)
                    await mallory.start("w", 1, run_id="r")
                    run = await mallory.get("r")
                    await until(run.status, lambda status: status == "waiting")
                else:
                    await mallory.send_event("r", "go", 1)
                    assert (await (await mallory.get("r")).result()).unwrap() == 60 << 20
        if mode == "in-process":
            assert threading.main_thread() not in threads["freeze"]

    with pytest.MonkeyPatch.context() as monkeypatch:
        live(monkeypatch)


# ---- what a process shares with others -------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/ns").is_dir(), reason="there are no namespaces here")
def test_a_process_shares_no_namespace_that_it_can_leave() -> None:
    child = Child(patience_s=10.0)
    names = {"mount": "mnt"}
    shared = {
        kind
        for kind in KINDS
        if os.readlink(f"/proc/{child.pid}/ns/{names.get(kind, kind)}")
        == os.readlink(f"/proc/self/ns/{names.get(kind, kind)}")
    }
    assert shared == set(KINDS) - child.confinement.namespaces
    if "mount" in child.confinement.namespaces:
        assert os.listdir(f"/proc/{child.pid}/root") == []
    child.end()


LEAVING = """
import os, socket
from cloche.sandbox.process import namespaces
left = namespaces.leave()
if not {"net", "mount"} <= left: os._exit(77)
try:
    os.listdir("/etc")
    os._exit(1)
except FileNotFoundError: pass
try:
    open("/x", "w")
    os._exit(2)
except OSError: pass
try:
    socket.socket().connect(("127.0.0.1", 9))
    os._exit(3)
except OSError as error: assert error.errno == 101, error  # the network is unreachable
os._exit(0)
"""


def test_namespaces_alone_keep_files_and_network_out_of_reach() -> None:
    run = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, timeout=60)
    if run.returncode == 77:
        pytest.skip("this kernel, or what contains this machine, forbids them")
    assert run.returncode == 0, run.stderr


def test_a_control_group_bounds_what_the_kernel_lets_it(tmp_path: Path) -> None:
    """The files that the kernel would have made are there: what is written to them is seen."""
    group = cgroups.Group(tmp_path)
    for name in ("cgroup.procs", "memory.max"):
        (group.path / name).write_text("")
    assert group.take(1234)
    group.allow(1 << 20)
    written = {file.name: file.read_text() for file in group.path.iterdir()}
    assert written == {"cgroup.procs": "1234", "memory.max": str((1 << 20) + cgroups.BEYOND_BYTES)}


GROUPED = """
import os, sys
from pathlib import Path
from cloche.sandbox.process.child import Child
Path(sys.argv[1], "host", "cgroup.procs").write_text(str(os.getpid()))
child = Child(patience_s=10.0)
own = Path(f"/proc/{child.pid}/cgroup").read_text()
[group] = Path(sys.argv[1]).glob("cloche-*")
assert child.confinement.cgroup
assert [line for line in own.splitlines() if line.startswith("0::") and line.endswith(f"/{group.name}")], own
child.end()
assert not group.exists()
"""


def test_a_process_has_a_group_where_some_are_delegated() -> None:
    """As systemd would: a group with a mark, and the service in one below it."""
    try:
        [root] = [
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line
        ]
        delegated = Path(root, f"cloche-test-{os.getpid()}")
        delegated.joinpath("host").mkdir(parents=True)
        os.setxattr(delegated, "user.delegate", b"1")
    except (OSError, ValueError):
        pytest.skip("no group can be made here")
    try:
        run = subprocess.run([sys.executable, "-c", GROUPED, str(delegated)], capture_output=True, timeout=60)
        assert run.returncode == 0, run.stderr.decode()
    finally:
        delegated.joinpath("host").rmdir()
        delegated.rmdir()
