"""Cells in processes of their own: whose they are, what they can reach, and what it costs when one ends, hangs or lies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.guests import needs_python

from cloche import ProcessEngine
from cloche.engines import Cell, Code, Language, SandboxEngine
from cloche.errors import (
    CellBusy,
    CellGone,
    CellLost,
    FuelExhausted,
    HeavyTurn,
    InvalidInput,
    LoadFailed,
    TimeExhausted,
)
from cloche.history import TenantId, TimeMs
from cloche.history.messages import Started, StepCompleted
from cloche.sandbox import Limits
from cloche.sandbox.process.child import Child

COUNT = """const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async (input) => { for (let n = 0; ; n++) if (await step("more")(n) === "spin") for (;;) {} }
"""
PYTHON = """from cloche import step, workflow
@workflow
async def main(input):
    for n in range(100):
        await step("more")(n)
"""
SPINNING = Limits(fuel_per_event=1 << 60, wall_ms_per_event=60_000)
NOW = TimeMs(1_700_000_000_000)
START = Started(NOW, bytes(16), None, {}).pack()


@pytest.fixture
def engine() -> Iterator[ProcessEngine]:
    with ProcessEngine(patience_s=30.0) as made:
        yield made


def opened(
    engine: SandboxEngine,
    source: str = COUNT,
    *,
    tenant: str = "default",
    limits: Limits | None = None,
    language: Language = "javascript",
) -> Cell:
    return engine.open(
        Code("w", engine.guest(language)[0], source, {}, "", language),
        lambda: b"",
        limits or Limits(),
        TenantId(tenant),
    )


def answer(call: int, value: Any = "on") -> bytes:
    return StepCompleted(NOW, call, value).pack()  # type: ignore[arg-type]


def child_of(engine: ProcessEngine, tenant: str = "default") -> Child:
    return engine.processes()[TenantId(tenant)]


def kill(child: Child) -> None:
    """As the kernel does when memory is short."""
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not child.has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(("language", "source"), [("javascript", COUNT), ("python", PYTHON)])
def test_a_cell_does_as_it_does_in_process(engine: ProcessEngine, language: Language, source: str) -> None:
    if language == "python":
        needs_python()
    here, there = opened(SandboxEngine(), source, language=language), opened(engine, source, language=language)
    for events in ([START], [answer(1)], [answer(2), answer(3)], [answer(n) for n in range(4, 60)]):
        assert here.turn(events) == there.turn(events)
        assert here.state_hash() == there.state_hash()
    assert here.fuel_used == there.fuel_used
    assert here.resident_bytes <= there.resident_bytes + (1 << 20)  # an image may be pre-patched here


def test_a_frozen_cell_goes_on_in_process_and_in_another_process(engine: ProcessEngine) -> None:
    cell = opened(engine)
    cell.turn([START, answer(1)])
    freeze, again = cell.freeze(), cell.freeze()
    assert freeze is not None
    assert again is not None
    cell.turn([answer(2)])  # what was frozen is the state at that time
    state_hash, frozen = freeze()
    assert again() == (state_hash, frozen)
    code, limits, tenant = Code("w", engine.guest()[0], COUNT, {}, ""), engine.limits(), TenantId("default")
    expected = opened(SandboxEngine())
    expected.turn([START, answer(1)])
    assert state_hash == expected.state_hash()
    kill(child_of(engine))
    for place in (SandboxEngine(), engine):
        thawed = place.thaw(code, lambda: b"", limits, tenant, frozen)
        assert thawed is not None
        assert thawed.state_hash() == state_hash
        assert thawed.fuel_used == expected.fuel_used


def test_a_light_turn_that_computes_is_stopped_and_one_that_cannot_be_made_at_once_is_put_off(
    engine: ProcessEngine,
) -> None:
    cell = opened(engine, limits=SPINNING)
    cell.turn([START])
    with pytest.raises(HeavyTurn):
        cell.turn([answer(1, "spin")], light=True)
    with pytest.raises(CellGone):
        cell.turn([answer(1)])
    other = opened(engine, limits=SPINNING)
    assert other.turn([START], light=True)  # all that takes long was done for the first


def test_what_a_guest_is_stopped_for_comes_back_as_it_is_in_process(engine: ProcessEngine) -> None:
    for made in (SandboxEngine(), engine):
        cell = opened(made, limits=Limits(fuel_per_event=60_000_000))
        cell.turn([START])
        with pytest.raises(FuelExhausted) as stopped:
            cell.turn([answer(1, "spin")])
        assert stopped.value.facts == {"limit": "fuel_per_event", "value": 60_000_000}
        with pytest.raises(LoadFailed) as failed:
            opened(made, "export default 5 +").turn([START])
        assert failed.value.failure.name == "SyntaxError"
        with pytest.raises(InvalidInput, match="can enter the glass"):
            opened(made).turn([bytes(9 << 20)])


# ---- whose they are, and what they can reach ----


def test_a_process_serves_one_tenant(engine: ProcessEngine) -> None:
    for tenant in ("ada", "bob", "ada"):
        opened(engine, tenant=tenant).turn([START])
    assert set(engine.processes()) == {"ada", "bob"}
    assert child_of(engine, "ada").pid != child_of(engine, "bob").pid


def test_a_process_at_work_is_not_ended_for_another_tenant() -> None:
    with ProcessEngine(processes=1) as engine:
        ended: list[BaseException] = []
        cell = opened(engine, tenant="ada", limits=Limits(fuel_per_event=1 << 60, wall_ms_per_event=2_000))
        cell.turn([START])

        def spin() -> None:
            try:
                cell.turn([answer(1, "spin")])
            except TimeExhausted as error:
                ended.append(error)

        thread = threading.Thread(target=spin)
        thread.start()
        while not child_of(engine, "ada").is_at_work:
            time.sleep(0.001)
        opened(engine, tenant="bob").turn([START])
        thread.join()
        assert len(ended) == 1
        opened(engine, tenant="eve").turn([START])
        assert set(engine.processes()) == {"eve"}


def test_there_are_no_more_processes_than_asked_for() -> None:
    with ProcessEngine(processes=2) as engine:
        cells = {tenant: opened(engine, tenant=tenant) for tenant in ("ada", "bob", "eve")}
        for cell in cells.values():
            cell.turn([START])
        assert set(engine.processes()) == {"bob", "eve"}
        with pytest.raises(CellGone):  # so its run is rebuilt, in a process that takes another's place
            cells["ada"].turn([answer(1)])
        opened(engine, tenant="ada").turn([START])
        assert set(engine.processes()) == {"eve", "ada"}


REACHING = """
import errno, fcntl, json, os, resource, signal, socket, struct, subprocess, sys, threading
from cloche.sandbox.process import lockdown
F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP, FIOASYNC = 10, 15, 0x8901, 0x8902, 0x5452
mine, ends = struct.pack("i", os.getpid()), [socket.socketpair() for _ in range(7)]
made = [socket.socket(), os.open("/etc/passwd", os.O_RDONLY)]
done = {}
def tries(name, action):
    try:
        action()
        done[name] = "done"
    except OSError as error:
        done[name] = errno.errorcode[error.errno]
    except (RuntimeError, ValueError) as error:  # how Python says that a thread or a higher limit is refused
        done[name] = "EPERM"
out = os.dup(1)
layers = sys.argv[1]
if "landlock" in layers and lockdown.close_files() < 4: os._exit(77)
if "seccomp" in layers and not lockdown.filter_calls(): os._exit(77)
if "limits" in layers: lockdown.limit()
tries("read a file", lambda: open("/etc/passwd").read())
tries("write a file", lambda: open("/tmp/cloche-escaped", "w"))
tries("list a directory", lambda: os.listdir("/"))
tries("connect", lambda: made[0].connect(("127.0.0.1", 9)))
tries("make a socket", socket.socket)
tries("signal the host", lambda: os.kill(os.getppid(), 0))
tries("start a thread", threading.Thread(target=lambda: None).start)
tries("start a process", lambda: subprocess.run(["/bin/true"]))
tries("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, resource.RLIM_INFINITY)))
tries("own a file", lambda: fcntl.fcntl(ends[0][0], fcntl.F_SETOWN, os.getpid()))
tries("own a file too", lambda: fcntl.fcntl(ends[1][0], F_SETOWN_EX, struct.pack("i", 1) + mine))
tries("choose a signal", lambda: fcntl.fcntl(ends[2][0], F_SETSIG, signal.SIGKILL))
tries("ask for signals", lambda: fcntl.fcntl(ends[3][0], fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK))
tries("own by ioctl", lambda: fcntl.ioctl(ends[4][0], FIOSETOWN, mine))
tries("own by ioctl too", lambda: fcntl.ioctl(ends[5][0], SIOCSPGRP, mine))
tries("ask by ioctl", lambda: fcntl.ioctl(ends[6][0], FIOASYNC, struct.pack("i", 1)))
os.write(out, json.dumps(done).encode())
"""


def reached(layers: str) -> dict[str, str]:
    run = subprocess.run([sys.executable, "-c", REACHING, layers], capture_output=True, timeout=60)
    if run.returncode == 77:
        pytest.skip(f"this kernel does not have {layers}")
    assert run.returncode == 0, run.stderr
    done: dict[str, str] = json.loads(run.stdout)
    return done


def test_without_a_lock_all_of_it_can_be_reached() -> None:
    free = reached("nothing")
    assert free.pop("connect") == "ECONNREFUSED"
    assert set(free.values()) == {"done"}
    Path("/tmp/cloche-escaped").unlink()


def test_the_filter_refuses_files_network_signals_threads_and_processes() -> None:
    locked = reached("seccomp")
    assert set(locked.values()) == {"EPERM"}, locked


KILLING = """
import fcntl, os, signal, socket, subprocess, sys
from contextlib import suppress
from cloche.sandbox.process import lockdown
if len(sys.argv) == 3:  # the host
    subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], check=True)
    sys.exit()
host, (mine, other) = os.getppid(), socket.socketpair()
if sys.argv[1] == "seccomp": assert lockdown.filter_calls()
for command, value in ((fcntl.F_SETOWN, host), (10, signal.SIGKILL), (fcntl.F_SETFL, os.O_ASYNC)):
    with suppress(OSError):
        fcntl.fcntl(mine, command, value)
other.send(b"x")
"""


@pytest.mark.parametrize(("layers", "code"), [("nothing", -signal.SIGKILL), ("seccomp", 0)])
def test_the_filter_keeps_the_kernel_from_signalling_the_host(layers: str, code: int) -> None:
    reached(layers)  # or skipped
    run = subprocess.run([sys.executable, "-c", KILLING, layers, KILLING], capture_output=True, timeout=60)
    assert run.returncode == code, run.stderr


def test_the_filter_leaves_what_a_cell_asks_of_its_files() -> None:
    program = (
        "import fcntl, os, socket\nfrom cloche.sandbox.process import lockdown\none = socket.socketpair()[0]\n"
        "sealed = os.memfd_create('x', os.MFD_ALLOW_SEALING)\nfiltered = lockdown.filter_calls()\n"
        "fcntl.fcntl(one, fcntl.F_SETFL, os.O_NONBLOCK)\nassert not os.get_inheritable(one.fileno())\n"
        "fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)\nfcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 0)\n"
        "os._exit(0 if filtered else 77)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert run.returncode in (0, 77), run.stderr


def test_landlock_alone_keeps_files_network_and_other_processes_out_of_reach() -> None:
    locked = reached("landlock")
    assert {locked[name] for name in ("read a file", "write a file", "list a directory", "connect")} == {"EACCES"}


def test_a_process_has_an_empty_environment_and_no_file_but_its_sockets(engine: ProcessEngine) -> None:
    opened(engine).turn([START])
    child = child_of(engine)
    here = Path(f"/proc/{child.pid}")
    if not here.exists():
        pytest.skip("there is no /proc here")
    assert here.joinpath("environ").read_bytes() == b""
    files = {os.readlink(one) for one in here.joinpath("fd").iterdir()}
    assert all(name.startswith(("socket:", "/memfd:wasm")) or name == "/dev/null" for name in files), files
    assert here.joinpath("oom_score_adj").read_text().strip() == "1000"
    status = here.joinpath("status").read_text()
    assert child.confinement.is_closed
    assert "NoNewPrivs:\t1" in status
    if child.confinement.seccomp:
        for thread in here.joinpath("task").iterdir():
            assert "Seccomp:\t2" in thread.joinpath("status").read_text()


def test_what_a_process_may_write_to_follows_its_cells(engine: ProcessEngine) -> None:
    opened(engine).turn([START])
    limits = Path(f"/proc/{child_of(engine).pid}/limits")
    if not limits.exists():
        pytest.skip("there is no /proc here")

    def most() -> int:
        line = next(line for line in limits.read_text().splitlines() if line.startswith("Max data size"))
        return int(line.split()[3])

    one = most()
    cells = [opened(engine) for _ in range(3)]
    for cell in cells:
        cell.turn([START])
    assert most() - one >= 2 * Limits().memory_bytes  # a cell that was dropped may still be counted
    assert most() < 4 << 30


# ---- what it costs when one ends ----


def test_a_process_that_ends_at_rest_costs_its_cells_and_leaves_no_zombie(engine: ProcessEngine) -> None:
    cell, fresh, neighbour = opened(engine), opened(engine), opened(engine, tenant="bob")
    cell.turn([START])
    neighbour.turn([START])
    pid = child_of(engine).pid
    kill(child_of(engine))
    with pytest.raises(CellGone):
        cell.turn([answer(1)])
    assert fresh.turn([START])  # it had not begun: it begins in another process
    assert neighbour.turn([answer(1)], light=True)
    with pytest.raises(ProcessLookupError):  # it was waited for, so its number is free
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_process_that_ends_in_a_turn_costs_that_turn(engine: ProcessEngine, number: signal.Signals) -> None:
    cell = opened(engine, limits=SPINNING)
    cell.turn([START])
    with _soon(child_of(engine).pid, number), pytest.raises(CellLost, match=f"by signal {int(number)}") as lost:
        cell.turn([answer(1, "spin")])
    assert not isinstance(lost.value, CellGone)
    assert not lost.value.deterministic


def halt(pid: int) -> None:
    """Stop a process of ours, and wait until it has: the signal alone leaves it a moment, in which it may answer."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


def test_a_process_that_hangs_is_ended() -> None:
    with ProcessEngine(patience_s=0.3) as engine:
        cell = opened(engine, limits=Limits(wall_ms_per_event=100))
        cell.turn([START])
        pid = child_of(engine).pid
        halt(pid)
        with pytest.raises(CellLost, match="did not answer within"):
            cell.turn([answer(1)])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_hangs_holds_up_the_loop_once_and_for_a_moment() -> None:
    with ProcessEngine(patience_s=0.3) as engine:
        cells = [opened(engine) for _ in range(3)]
        for cell in cells:
            cell.turn([START])
        halt(child_of(engine).pid)
        with pytest.raises(HeavyTurn):
            cells[0].turn([answer(1)], light=True)
        with pytest.raises(CellBusy):  # nothing is asked again before that was answered
            cells[1].turn([answer(1)], light=True)
        with pytest.raises(CellGone):  # in a thread it is found out
            cells[1].turn([answer(1)])
        assert opened(engine).turn([START])


@contextmanager
def _soon(pid: int, number: int) -> Iterator[None]:
    """Signal a process when it computes."""

    def strike() -> None:
        begun = _cpu_s(pid)
        while _cpu_s(pid) < begun + 0.05:
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, number)
                time.sleep(0.02)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
