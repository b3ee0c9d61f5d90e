"""What is seen to while a hook of a driven run is open: that it is not silent for too long, and that its token is its own.

A sign of life is a row of the inbox under a name that no workflow can wait for, so that it wakes nobody: it is looked at when
the hook is due to have failed. The newest one counts; it is no record.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.history import Failure, Kind, RunKey, TimeMs
from cloche.history.effects import WatchHook
from cloche.history.lifecycles import HookPhase
from cloche.history.messages import HookFailed
from cloche.store import record_pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche.store import Store

AGAIN_MS = 1_000  # until a store that did not answer is asked again, or an event that waits is seen
_BEAT = "\x1fheartbeat:"

log = logging.getLogger("cloche.run")


def beat_name(event: str) -> str:
    """The name of the row that says that whoever is to send the event is still at it."""
    return _BEAT + event


def is_beat(name: str | None) -> bool:
    return name is not None and name.startswith(_BEAT)


class Hooks:
    """Of one driven run."""

    def __init__(self, services: RunServices, run: LiveRun, inputs: Inputs, is_driven: Callable[[], bool]) -> None:
        self._services = services
        self._run = run
        self._inputs = inputs
        self._is_driven = is_driven

    def watch(self, hook: WatchHook) -> None:
        """See to it from now on; its record is durable."""
        if hook.token:
            self._services.tasks.spawn(self._check_token(hook))
        if hook.heartbeat_ms:
            self._services.timers.at(hook.due, lambda: self._services.tasks.spawn(self._check_beat(hook)))

    def _is_open(self, hook: WatchHook) -> bool:
        call = self._run.machine.open.get(hook.call)
        is_open = call is not None and call.phase is HookPhase.OPEN and self._run.machine.moves
        return is_open and self._is_driven()

    def _fail(self, hook: WatchHook, name: str, message: str) -> None:
        if self._is_open(hook) and all(one.call != hook.call for one in self._inputs.of_kind(HookFailed)):
            self._inputs.add(HookFailed(self._services.world.now(), hook.call, Failure(name, message)))

    # ---- signs of life ----

    async def _check_beat(self, hook: WatchHook) -> None:
        """It fails, unless somebody was heard of since; what waits for it in the inbox comes first."""
        if not self._is_open(hook):
            return
        now, due = self._services.world.now(), TimeMs(0)
        try:
            rows = await self._services.store.requests(self._run.key)
        except StoreError as error:
            log.info("run %s: whether hook '%s' is silent is looked at again: %s", self._run.key, hook.name, error)
            due = TimeMs(now + AGAIN_MS)
        else:
            if any(row.name == hook.name for row in rows):
                due = TimeMs(now + AGAIN_MS)
            beats = [row.posted_at for row in rows if row.name == beat_name(hook.name)]
            due = max(due, *(TimeMs(at + hook.heartbeat_ms) for at in beats), hook.due)
        if due <= now:
            silent = f"nobody was heard of for {hook.heartbeat_ms} ms who is to send '{hook.name}'"
            self._fail(hook, "HeartbeatTimeout", silent)
        elif self._is_open(hook):
            self._run.machine.open.expect(hook.call, due)
            self._services.timers.at(due, lambda: self._services.tasks.spawn(self._check_beat(hook)))
            self._inputs.wake()  # it may rest until then

    # ---- tokens ----

    async def _check_token(self, hook: WatchHook) -> None:
        """Of two runs whose hooks have one token, the later one is told. Both look, also when they are taken up."""
        key, store = self._run.key, self._services.store
        try:
            others = [one for one in await store.waiting_for(key.tenant, hook.token) if one != key]
            if not others:
                return
            own = (await _opened_at(store, key, hook.token), key.run)
            first = min([(await _opened_at(store, one, hook.token), one.run) for one in others])
        except StoreError as error:
            log.info("run %s: whether the token of a hook is its own is looked at again: %s", key, error.message)
            again = TimeMs(self._services.world.now() + AGAIN_MS)
            self._services.timers.at(again, lambda: self._services.tasks.spawn(self._check_token(hook)))
            return
        if first < own:
            self._fail(hook, "HookConflict", f"another run waits with a hook that has the token '{hook.token}'")


async def _opened_at(store: Store, key: RunKey, token: str) -> TimeMs:
    """When the run began to wait for this token, without a break."""
    since, last = TimeMs(0), TimeMs(0)
    async for page in record_pages(store, key):
        for record in page:
            if record.kind is Kind.HOOK_OPENED and record.content()[3] == token:
                since = since if record.time == last else record.time
                last = record.time
            elif record.kind is Kind.HOOK_RECEIVED:
                last = record.time
    return since
