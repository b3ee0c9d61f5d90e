"""What remote workers have taken, watched: who is silent for too long, and what takes longer than its step may.

Any worker that has remote steps watches all that were taken. It decides nothing: it leaves a request for the run, as the remote
worker itself does, and whoever owns the run makes an end of it, or gives the attempt to another one. Silence is counted by this
process's monotonic clock, from the last heartbeat that it saw; a timeout by the time at which the attempt was taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.run.remote import Told, is_remote
from cloche.store import REMOTE, AttemptName, RemoteTask
from cloche.worker.answers import remote_token

if TYPE_CHECKING:
    from cloche.run.ports import RunServices

LOOK_S = 0.5  # between two looks at what was taken: also how late silence may be noticed

log = logging.getLogger("cloche")


@dataclass(slots=True)
class _Seen:
    """The heartbeat of a taken attempt, and since when it stands still; `is_told`: that it is silent, or too slow."""

    beat: int
    since: float
    is_told: bool = False


class RemoteWatch:
    """Of one worker. `on_posted` is called when a request was left."""

    def __init__(self, services: RunServices, on_posted: Callable[[], None]) -> None:
        self._services = services
        self._on_posted = on_posted
        self._seen: dict[AttemptName, _Seen] = {}
        self._watcher: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on, if there is a remote step here."""
        if self._watcher is None and any(is_remote(step) for step in self._services.registry.steps()):
            self._watcher = asyncio.create_task(self._watch(), name="cloche-remote-watch")

    def stop(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def look(self) -> None:
        """See who is silent, and what takes too long.

        Raises:
            StoreError: the store did not answer.
        """
        world, seen = self._services.world, dict[AttemptName, _Seen]()
        for task in await self._services.store.remote_tasks(taken=True):
            known = self._seen.get(task.name)
            if known is None or known.beat != task.beat:
                known = _Seen(task.beat, world.monotonic())
            seen[task.name] = known
            if not known.is_told and (what := self._trouble(task, known)) is not None:
                known.is_told = True
                await self._post(task.name, what)
        self._seen = seen

    def _trouble(self, task: RemoteTask, known: _Seen) -> Told | None:
        world, of = self._services.world, (task.call, task.seq)
        if task.timeout_ms is not None and task.taken_at is not None and world.now() - task.taken_at >= task.timeout_ms:
            return Told(*of, "timeout")
        if world.monotonic() - known.since >= task.silence_ms / 1000:
            return Told(*of, "silent", is_begun=task.beat > 0 or task.is_pushed)
        return None

    async def _post(self, name: AttemptName, told: Told) -> None:
        token = remote_token(name, told.what)
        store, now = self._services.store, self._services.world.now()
        await store.post(name.key, REMOTE, told.pack(), token, now)
        self._on_posted()

    async def _watch(self) -> None:
        while True:
            await self._services.world.pause(LOOK_S)
            try:
                await self.look()
            except StoreError as error:
                log.warning("the store did not say what remote workers have taken: %s", error.message)
            except Exception:
                log.exception("a look at what remote workers have taken failed by a fault of cloche itself")
