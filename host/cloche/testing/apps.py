"""A `Cloche` for tests: on a store object that outlives it, and with the end that a killed process has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from cloche.client.cloche import Cloche
from cloche.client.workflows import Workflow
from cloche.store import Checkpoints, MemoryCheckpoints, MemoryStore, Store
from cloche.testing.doubles import StepDouble, with_doubles
from cloche.worker import shutdown


class TestApp(Cloche):
    """What a file is to processes, `on` (a store object) is to these: one is thrown away, the next one opens the same store.

    Args:
        workflows, options: as for `Cloche`. All doubles must be of steps of one of them, or of a child.
        on: the store, which stays open when the app ends.
        checkpoints: likewise.
        doubles: what runs instead of some steps.
    """

    __test__ = False  # pytest: no test

    def __init__(
        self,
        *workflows: Workflow,
        on: Store | None = None,
        checkpoints: Checkpoints | None = None,
        doubles: Iterable[StepDouble] = (),
        **options: Any,
    ) -> None:
        doubles = list(doubles)
        engines = [one.cells for one in workflows if one.cells is not None]
        options.setdefault("engine", engines[0] if engines else None)
        super().__init__(
            workflows=with_doubles(workflows, doubles),
            handle_sigterm=options.pop("handle_sigterm", False),
            store=on or MemoryStore(),
            **options,
        )
        self._given_checkpoints = checkpoints or MemoryCheckpoints()

    @property
    def store(self) -> Store:
        assert not isinstance(self._where, str | os.PathLike)
        return self._where

    def _checkpoints_of(self, store: Store) -> Checkpoints:
        return self._given_checkpoints

    async def __aenter__(self) -> TestApp:
        await super().__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        if self.is_open:  # not after it has vanished
            await super().__aexit__(*error)

    async def vanish(self) -> None:
        """The end that `kill -9` makes: nothing is drained and nothing recorded."""
        worker, self._worker = self._running, None
        await self._sweeper.end()
        shutdown.forget(self._drain)
        await worker.vanish()
        await worker.store.close()
        if isinstance(self.store, MemoryStore):  # what the kernel tells of a process, for the stores that ask it
            self.store.leases.vanish(worker.name)
