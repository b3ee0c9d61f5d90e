"""Promises and microtasks, counted as ECMAScript counts them.

When two arms of a block go on in one event, the order of their commands follows from how many microtasks each needs. So the
interpreter has promises of its own, and every `await` is one microtask. An async function is a generator that yields the
promises it awaits; none of the prelude's returns a promise, which would take further ones. Source: ECMA-262 27.2
(PromiseReactionJob) and 27.7 (Await).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from oracle.values import Thrown

Steps: TypeAlias = "Generator[Promise, Any, Any]"
Reaction: TypeAlias = Callable[[bool, Any], None]


class Microtasks:
    """The queue of one cell."""

    __slots__ = ("_jobs",)

    def __init__(self) -> None:
        self._jobs: deque[tuple[Reaction, bool, Any]] = deque()

    def add(self, job: Reaction, succeeded: bool, value: Any) -> None:
        self._jobs.append((job, succeeded, value))

    def run(self) -> None:
        """All there are, and those that they add."""
        jobs = self._jobs
        while jobs:
            job, succeeded, value = jobs.popleft()
            job(succeeded, value)

    def clear(self) -> None:
        self._jobs.clear()

    def start(self, steps: Steps) -> Promise:
        """Call an async function: it runs at once, up to its first `await`."""
        return _Activation(self, steps).promise

    def rejected(self, error: Any) -> Promise:
        promise = Promise(self)
        promise.settle(False, error)
        return promise


class Promise:
    """Settled once; `then` is called back in a microtask, with whether it was fulfilled and with what."""

    __slots__ = ("_microtasks", "_reactions", "_succeeded", "_value")

    def __init__(self, microtasks: Microtasks) -> None:
        self._microtasks = microtasks
        self._reactions: list[Reaction] = []
        self._succeeded: bool | None = None
        self._value: Any = None

    def then(self, reaction: Reaction) -> None:
        if self._succeeded is None:
            self._reactions.append(reaction)
        else:
            self._microtasks.add(reaction, self._succeeded, self._value)

    def settle(self, succeeded: bool, value: Any) -> None:
        """Fulfil it with a value that is no promise, or reject it."""
        self._succeeded, self._value = succeeded, value
        for reaction in self._reactions:
            self._microtasks.add(reaction, succeeded, value)
        self._reactions = []

    def settle_once(self, succeeded: bool, value: Any) -> None:
        """As `settle`, unless it is settled already."""
        if self._succeeded is None:
            self.settle(succeeded, value)


class _Activation:
    """A call of an async function."""

    __slots__ = ("_microtasks", "_steps", "promise")

    def __init__(self, microtasks: Microtasks, steps: Steps) -> None:
        self._microtasks = microtasks
        self._steps = steps
        self.promise = Promise(microtasks)
        self._go_on(True, None)

    def _go_on(self, succeeded: bool, value: Any) -> None:
        try:
            awaited = self._steps.send(value) if succeeded else self._steps.throw(Thrown(value))
        except StopIteration as end:
            self.promise.settle(True, end.value)
        except Thrown as thrown:
            self.promise.settle(False, thrown.value)
        else:
            awaited.then(self._go_on)
