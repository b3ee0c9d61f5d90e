"""Who shares the machine: what other users may read of a store, and what they can do with it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apps import in_loop

from cloche import Cloche, create_step, create_workflow
from cloche.errors import StoreUnavailable
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
