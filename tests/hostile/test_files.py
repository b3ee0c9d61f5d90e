"""Who shares the machine: what other users may read of a store, and what they can do with it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apps import in_loop

from cloche import Cloche, ProcessEngine, create_step, create_workflow
from cloche.engines import Code
from cloche.errors import StoreUnavailable
from cloche.history import TenantId
from cloche.sandbox.process.namespaces import NOBODY
from cloche.sandbox.process.readers import Readers
from cloche.store.sqlite import lock

workflow = create_workflow(id="w").then(create_step(id="s", execute=lambda data: data)).commit()


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """As a process that makes files for everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_to_all")
@in_loop
async def test_the_files_of_a_store_are_its_users_alone(tmp_path: Path) -> None:
    async with Cloche(tmp_path / "s.db", workflows=[workflow], checkpoint_every=1) as app:
        await (await app.start("w", 1)).result()
        await app._running.store.back_up(tmp_path / "copy.db")
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    assert len(modes) >= 5
    assert set(modes.values()) == {"0o600"}, modes


@in_loop
async def test_who_may_read_the_lock_keeps_no_worker_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock for reading needs no more than reading: a worker searched on for a free slot without end."""
    monkeypatch.setattr(lock, "SLOTS_MAX", 50)
    async with Cloche(tmp_path / "s.db", workflows=[workflow]):
        pass
    other = os.open(tmp_path / "s.db.lock", os.O_RDONLY)
    whole = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(other, fcntl.F_OFD_SETLK, whole)
    with pytest.raises(StoreUnavailable, match="holds all 50 slots"):
        async with Cloche(tmp_path / "s.db", workflows=[workflow]):
            pass
    os.close(other)
    async with Cloche(tmp_path / "s.db", workflows=[workflow]) as app:
        await (await app.start("w", 1)).result()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to lose")
def test_no_process_of_a_tenant_has_a_capability() -> None:
    """And it is nobody's, where it can leave its host's users, or its host can still set its limits."""
    readers, engine = Readers(has_spare=False), ProcessEngine()
    code = Code("w", engine.guest()[0], "export default async () => 1", {}, "")
    engine.load(code, lambda: engine.guest()[1], engine.limits(), TenantId("mallory"))
    readers.read(TenantId("mallory"), workflow.graph.to_json())
    can_limit = int(_status(os.getpid())["CapEff"], 16) >> 24 & 1
    for child in (*engine.processes().values(), *readers.processes().values()):
        status = _status(child.pid)
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
        is_nobody = can_limit or "user" in child.confinement.namespaces
        expected = str(NOBODY) if is_nobody else "0"
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {expected}
    readers.close()
    engine.close()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
