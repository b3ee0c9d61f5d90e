"""Runs that cannot go on, each with its reason. The others go on; a store that did not answer is asked again."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError, DamagedStore, LeasedElsewhere, NotFound, StoreError, StoreUnavailable
from cloche.history import RunKey, TimeMs
from cloche.status import RunStatus
from cloche.store import Lease, Store

if TYPE_CHECKING:
    from cloche.run.clock import Timers, World
    from cloche.run.ports import Tasks
    from cloche.worker.listeners import Listeners

STORE_RETRY_MS = 1_000
BLOCKED_TRIED = 100


@dataclass(frozen=True, slots=True)
class LastError:
    """What keeps a run from going on. The exception itself holds on to all that its frames hold: the run's cell among it."""

    kind: type[ClocheError]
    message: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, error: ClocheError) -> LastError:
        return cls(type(error), error.message, error.facts)

    def raised(self) -> ClocheError:
        """The same, to be raised once more."""
        return self.kind(self.message, **self.facts)


log = logging.getLogger("cloche")


class Blocks:
    """Of one worker. `take_up` claims a run and drives it; raises as `Starting.wake`. `end` ends one that is blocked, for a
    reason."""

    def __init__(
        self,
        store: Store,
        world: World,
        timers: Timers,
        tasks: Tasks,
        listeners: Listeners,
        take_up: Callable[[RunKey], Awaitable[object]],
        end: Callable[[RunKey, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._world = world
        self._timers = timers
        self._tasks = tasks
        self._listeners = listeners
        self._take_up = take_up
        self._end = end
        self._last_errors: dict[RunKey, LastError] = {}

    def __contains__(self, key: RunKey) -> bool:
        return key in self._last_errors

    def last_error(self, key: RunKey) -> ClocheError | None:
        """What keeps the run from going on here, if anything does."""
        found = self._last_errors.get(key)
        return found.raised() if found is not None else None

    def report(self, key: RunKey, error: ClocheError | None) -> None:
        """Something outside keeps the run from going on for now; None: not any more."""
        if error is not None:
            self._last_errors[key] = LastError.of(error)
            self._listeners.announce(key, stopped=True)
        else:
            self._last_errors.pop(key, None)

    async def block(self, key: RunKey, error: ClocheError, lease: Lease | None) -> None:
        """Block a run, by name and with a reason. A store that did not answer is asked again."""
        log.error("run %s is blocked: %s", key, error.message)
        self._last_errors[key] = LastError.of(error)
        if isinstance(error, StoreError) and error.retryable:
            self.try_again(key, error)
        elif isinstance(error, DamagedStore) or not isinstance(error, StoreError):
            problem = {"reason": error.code, "message": error.message, "what_to_do": error.what_to_do}
            try:
                await self._store.set_problem(key, json.dumps(problem), lease)
            except StoreUnavailable:  # it may be this worker's still, and nobody drives it
                self._try_later(key)
            except StoreError:
                pass
        self._listeners.announce(key, stopped=True)

    def end_in(self, key: RunKey, seconds: int) -> None:
        """Have a run end then that was told to end, if it is blocked still: nobody else may be there to do it."""
        due = TimeMs(self._world.now() + seconds * 1000)
        self._timers.at(due, lambda: self._tasks.spawn(self._end_now(key, seconds)))

    async def _end_now(self, key: RunKey, seconds: int) -> None:
        try:
            await self._end(key, f"it was blocked when it was to end, and did not go on within {seconds} s")
        except StoreUnavailable:
            self.end_in(key, 1)
        except ClocheError as error:  # another worker has it, or it cannot be ended
            log.info("run %s is not ended: %s", key, error.message)

    def try_again(self, key: RunKey, error: StoreError) -> None:
        """Take the run up in a moment: the store did not answer."""
        self.report(key, error)
        self._try_later(key)

    def _try_later(self, key: RunKey) -> None:
        due = TimeMs(self._world.now() + STORE_RETRY_MS)
        self._timers.at(due, lambda: self._tasks.spawn(self.try_now(key)))

    async def try_now(self, key: RunKey) -> None:
        """Take the run up, if it is there and free."""
        try:
            await self._take_up(key)
        except (LeasedElsewhere, NotFound):
            self._last_errors.pop(key, None)
        except StoreError as error:
            self.try_again(key, error)

    async def try_all(self, is_driven: Callable[[RunKey], bool]) -> None:
        """Another worker may lack what this one has: a run that was blocked elsewhere gets its chance here, once."""
        for row in await self._store.runs(status=RunStatus.BLOCKED, limit=BLOCKED_TRIED + len(self._last_errors)):
            if row.key not in self._last_errors and not is_driven(row.key):
                await self.try_now(row.key)
