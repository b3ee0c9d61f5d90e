"""Permits in one worker: it gives what time has freed to those who wait for it, and none leads.

Of two workers that see the same moment one gives; the other finds that done. What a commit frees is given in that commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.history import TimeMs
from cloche.worker.looks import OneAtATime

if TYPE_CHECKING:
    from cloche.run.ports import RunServices

AGAIN_MS = 1_000  # until a look that failed is made again

log = logging.getLogger("cloche")


class PermitRunner:
    """Of one worker. `on_given` is called when requests were left for runs that have their permits."""

    def __init__(self, services: RunServices, on_given: Callable[[], None]) -> None:
        self._services = services
        self._on_given = on_given
        self._planned: TimeMs | None = None  # the next look
        self.look = OneAtATime(self._look)

    @property
    def has_limits(self) -> bool:
        """Whether anything that this worker executes has limits."""
        registry = self._services.registry
        return any(step.limits for step in registry.steps()) or any(one.limits for one in registry.workflows())

    def look_beside(self) -> None:
        """As `look`, in a task of its own, and again in a moment if the store did not answer."""
        self._services.tasks.spawn(self._look_soon())

    async def _look_soon(self) -> None:
        try:
            await self.look()
        except StoreError as error:
            log.warning("the store did not say who may go on: %s", error.message)
            self._expect(TimeMs(self._services.world.now() + AGAIN_MS))

    async def _look(self) -> None:
        """Give what time has freed.

        Raises:
            StoreError: the store did not answer; it may have been done.
        """
        if not self.has_limits:
            return
        now = self._services.world.now()
        was_due = self._planned is not None and self._planned <= now
        due = await self._services.store.grant_due(now)
        if due is not None:
            self._expect(TimeMs(max(due, now + 1)))
        if was_due:
            self._on_given()

    def _expect(self, due: TimeMs) -> None:
        if self._planned is not None and self._services.world.now() < self._planned <= due:
            return
        self._planned = due
        self._services.timers.at(due, self.look_beside)
