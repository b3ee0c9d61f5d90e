"""The smallest engine that conducts runs: a journal of what its futures ended with, in order, from which it can begin again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.foreign_flows import Flow, Message

from cloche import RunResult
from cloche.foreign import Conductor, Hosted, Hosting, conduct
from cloche.foreign.attempts import Request, Sink, attempted
from cloche.foreign.conductor import Outcome
from cloche.foreign.ports import CancelAsked, event_name, resume_name
from cloche.foreign.report import Report
from cloche.history import Failure
from cloche.history.messages import CompleteRun, FailRun, StartChild


@dataclass(eq=False)
class Future:
    number: int  # in the order in which they were made, from 0
    task: asyncio.Task[Any] | None = None


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Journal:
    """The history of a run as this engine keeps it: which future ended, and with what. `None` is a cancellation."""

    ended: list[tuple[int | None, Any]] = field(default_factory=list)
    messages: dict[str, list[Any]] = field(default_factory=dict)


class LocalPorts:
    """`Ports` over asyncio and a journal. `crash_after`: the process ends when the journal has so many entries."""

    def __init__(self, hosting: Hosting, hosted: Hosted, run_id: str, journal: Journal, crash_after: int = -1) -> None:
        self.run_id = self.identity = run_id
        self.written: list[Any] = []
        self._hosting, self._hosted, self._journal, self._crash_after = hosting, hosted, journal, crash_after
        self._made: list[Future] = []
        self._values: dict[int, Any] = {}
        self._read = 0
        self._consumed: dict[str, int] = {}
        self._cancel = asyncio.Event()

    def attempt(self, request: Request) -> Future:
        sink = Sink(lambda path, value: self.written.append((path, value)))
        return self._future(lambda: attempted(self._hosted, Request.unpack(request.pack()), sink, 1_000_000))

    def sleep_until(self, due: int) -> Future:
        return self._future(lambda: asyncio.sleep(due / 1000 - time.time()))

    def message(self, names: tuple[str, ...]) -> Future:
        async def wait() -> Any:
            while True:
                for name in names:
                    taken = self._consumed.get(name, 0)
                    if len(self._journal.messages.get(name, ())) > taken:
                        return {"at": _now(), "payload": self._journal.messages[name][taken], "name": name}
                await asyncio.sleep(0.005)

        return self._future(wait)

    def child(self, asked: StartChild) -> Future:
        async def whole() -> Any:
            hosted = self._hosting[asked.workflow]
            ports = LocalPorts(self._hosting, hosted, f"{self.run_id}:{asked.path}", Journal())
            match await lead(hosted, ports, asked.input):
                case CompleteRun(value):
                    return {"at": _now(), "outcome": [0, value]}
                case FailRun(failure):
                    return {"at": _now(), "outcome": [1, dict(sorted(failure.to_wire().items()))]}
            return {"at": _now(), "outcome": [1, Failure("Canceled", "").to_wire()]}

        return self._future(whole)

    async def first(self, futures: list[Future]) -> list[Future]:
        while self._read == len(self._journal.ended):
            if self._read == self._crash_after:
                raise Crash
            tasks = {future.task: future for future in self._made if future.task is not None}
            asked = asyncio.ensure_future(self._cancel.wait())
            done, _ = await asyncio.wait([*tasks, asked], return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if self._cancel.is_set():
                self._cancel.clear()
                self._journal.ended.append((None, _now()))
                continue
            for task in done:
                future = tasks[task]
                future.task = None
                self._journal.ended.append((future.number, task.result()))
        if self._journal.ended[self._read][0] is None:
            self._read += 1
            raise CancelAsked(self._journal.ended[self._read - 1][1], "asked")
        return [future for future in self._together() if future in futures]

    def _together(self) -> list[Future]:
        """All that has ended, as far as it is known here: they are given at once."""
        found: list[Future] = []
        for number, value in self._journal.ended[self._read :]:
            if number is None or number >= len(self._made):
                break
            self._read += 1
            if isinstance(value, dict) and "name" in value:
                self._consumed[value["name"]] = self._consumed.get(value["name"], 0) + 1
            self._values[number] = value
            found.append(self._made[number])
        return found

    async def value(self, future: Future) -> Any:
        return self._values.pop(future.number)

    def forget(self, future: Future) -> None:
        self.stop([future])

    def log(self, level: int, text: str) -> None: ...

    def cancel(self) -> None:
        self._cancel.set()

    def stop(self, futures: Sequence[Future] | None = None) -> None:
        for future in self._made if futures is None else futures:
            if future.task is not None:
                future.task.cancel()
                future.task = None

    def _future(self, begin: Callable[[], Any]) -> Future:
        future = Future(len(self._made))
        self._made.append(future)
        if all(number != future.number for number, _ in self._journal.ended):
            future.task = asyncio.ensure_future(begin())
        return future


async def lead(hosted: Hosted, ports: LocalPorts, input: Any, given: Any = None, at: int = 1_000) -> Outcome | None:
    run = Conductor(hosted)
    run.begin(ports.identity, at, input, given)
    return await conduct(run, ports)


async def whole_run(hosting: Hosting, flow: Flow, *, crash_every: int = 0, events_max: int | None = None) -> RunResult:
    """A run of a flow to its end.

    The process ends after every `crash_every` entries of the journal, or the run goes on in a new history after every
    `events_max` events.
    """
    hosted, journal, at = hosting[flow.workflow.id], Journal(), _now()
    given = {"state": flow.state or {}, "context": flow.context or {}}
    for message in flow.messages:
        journal.messages.setdefault(name_of(message), []).append(message[2])
    frozen: bytes | None = None
    while True:
        ports = LocalPorts(hosting, hosted, "run-1", journal, len(journal.ended) + crash_every if crash_every else -1)
        if frozen is None:
            run = Conductor(hosted)
            run.report = Report(hosted, "run-1")
            run.begin("run-1", at, flow.input, given)
        else:
            run = Conductor.thaw(hosted, frozen)
        try:
            outcome = await conduct(run, ports, lambda: events_max is not None and run.events >= events_max)  # noqa: B023
        except Crash:
            continue
        finally:
            ports.stop()
        if outcome is None:
            frozen, journal.ended = run.freeze(), []
            for name, taken in ports._consumed.items():
                del journal.messages[name][:taken]
            continue
        return report_of(run)


def name_of(message: Message) -> str:
    """The name of the message that the ports wait for."""
    kind, name, _ = message
    return event_name(name) if kind == "event" else resume_name(*((name, None) if kind == "step" else (None, name)))


def report_of(run: Conductor) -> RunResult:
    assert run.report is not None
    match run.outcome:
        case CompleteRun():
            return run.report.result("success")
        case FailRun(failure):
            return run.report.result("failed", failure)
    return run.report.result("canceled")


def _now() -> int:
    return int(time.time() * 1000)
