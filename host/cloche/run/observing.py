"""Those who watch runs from outside: metrics, traces. They hear of what happened, and change nothing of it.

One that raises is named in the log, and the run goes on: what is seen of a run must never be what stops it.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cloche.history.marks import TAG
from cloche.history.notes import RunCreated
from cloche.steps.attempt import Bailed, Completed, Outcome, Suspended

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.errors import ClocheError
    from cloche.history import Record, RunKey, RunMachine
    from cloche.history.effects import StartStep
    from cloche.history.machine import Input
    from cloche.history.messages import Started
    from cloche.store import Append, Store
    from cloche_codegen import Step

log = logging.getLogger("cloche.run")
TRACEPARENT = "traceparent"  # the tag of a run that has the W3C trace context of its starter

Ended: TypeAlias = Callable[[str, BaseException | None], None]
_OUTCOMES: dict[type, str] = {Completed: "completed", Bailed: "bailed", Suspended: "suspended"}


class WatchedRun(Protocol):
    """A run as those who watch see it."""

    key: RunKey

    @property
    def code(self) -> Code: ...

    @property
    def started(self) -> Started | None: ...


class ActiveRun(WatchedRun, Protocol):
    """One that a worker drives."""

    @property
    def machine(self) -> RunMachine: ...


class Observer(Protocol):
    """Hears of runs. Everything is called on the event loop, and returns soon."""

    def activated(self, run: ActiveRun, traceparent: str | None) -> None:
        """A worker begins to drive it. `traceparent`: that of whoever started the run."""

    def committed(self, run: ActiveRun, records: Sequence[Record]) -> None:
        """These records of it are durable. What is replayed is never committed again."""

    def attempt_begins(self, run: WatchedRun, step: Step, start: StartStep) -> Ended:
        """An attempt of a step begins, in the task that calls. What is returned is called in that task when it has ended.

        It is given how: completed, bailed, suspended, failed or canceled; and what the step raised.
        """

    def replayed(self, run: WatchedRun, events: int, seconds: float) -> None:
        """So many events were replayed to rebuild its cell, which computed for so long."""

    def blocked(self, run: ActiveRun, error: ClocheError) -> None:
        """It cannot go on, for this reason."""

    def left(self, run: ActiveRun) -> None:
        """It is driven no more."""

    def claimed(self, lag_s: float) -> None:
        """A run was taken so long after it was due."""

    def appended(self, append: Append, seconds: float) -> None:
        """This is durable, and took so long, waiting for others included."""


class Observing:
    """All of them, each by itself."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers

    def activated(self, run: ActiveRun, traceparent: str | None) -> None:
        self._tell(lambda one: one.activated(run, traceparent))

    def committed(self, run: ActiveRun, records: Sequence[Record]) -> None:
        self._tell(lambda one: one.committed(run, records))

    def replayed(self, run: WatchedRun, events: int, seconds: float) -> None:
        self._tell(lambda one: one.replayed(run, events, seconds))

    def blocked(self, run: ActiveRun, error: ClocheError) -> None:
        self._tell(lambda one: one.blocked(run, error))

    def left(self, run: ActiveRun) -> None:
        self._tell(lambda one: one.left(run))

    def claimed(self, lag_s: float) -> None:
        self._tell(lambda one: one.claimed(lag_s))

    def appended(self, append: Append, seconds: float) -> None:
        self._tell(lambda one: one.appended(append, seconds))

    async def attempted(
        self, run: WatchedRun, step: Step, start: StartStep, work: Coroutine[Any, Any, Outcome]
    ) -> Outcome:
        """What `work` gives, an attempt of a step."""
        ends: list[Ended] = []
        self._tell(lambda one: ends.append(one.attempt_begins(run, step, start)))
        outcome, raised = "failed", None
        try:
            result = await work
            outcome = _OUTCOMES[type(result)]
            return result
        except BaseException as error:
            raised = error
            outcome = "canceled" if isinstance(error, CancelledError) else "failed"
            raise
        finally:
            for end in reversed(ends):
                _guarded(end, outcome, raised)

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for one in self.observers:
            _guarded(what, one)


def _guarded(call: Callable[..., None], *given: Any) -> None:
    try:
        call(*given)
    except Exception:
        log.exception("whoever watches runs raised; the run is not affected")


def starter_in(inputs: Sequence[Input]) -> str | None:
    """The trace context of whoever started a run, in what it begins with."""
    created = next((one for one in inputs if isinstance(one, RunCreated)), None)
    return created.tags.get(TRACEPARENT) if created is not None else None


async def starter_of(store: Store, key: RunKey) -> str | None:
    """The same, of a run that is in the store."""
    return (await store.marks(key)).get(TAG + TRACEPARENT)
