"""An Inngest server as small as its SDK specification allows: it calls the SDK's real HTTP handler, in virtual time.

It does what sections 4.4 and 5 of the specification say: call requests, memoisation, the stack, parallel steps, retries. A seed
shuffles whatever the specification leaves open: the order in which parallel steps end, and whether a request comes twice.
"""

from __future__ import annotations

import heapq
import json
import random
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

EPOCH = 1_790_000_000_000
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


@dataclass(eq=False)
class Run:
    function: str
    event: dict[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    steps: dict[str, Any] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    waits: dict[str, dict[str, Any]] = field(default_factory=dict)  # steps that wait for an event
    planned: dict[str, tuple[dict[str, Any], list[str]]] = field(default_factory=dict)  # steps: what was known then
    is_parallel: bool = False
    status: str = "Running"
    output: Any = None
    parent: tuple[Run, str] | None = None


Target = str | Callable[[], None]


class Executor:
    """`app` is the ASGI app that serves the functions; `retries` how often each function may be retried."""

    def __init__(
        self, app: Any, app_id: str, retries: dict[str, int], *, seed: int = 0, duplicates: float = 0.0
    ) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://sdk")
        self._app_id, self._retries = app_id, retries
        self._random, self._duplicates = random.Random(seed), duplicates
        self._queue: list[tuple[int, float, int, Run, Target, int]] = []
        self.now = EPOCH
        self.requests = 0
        self.runs: list[Run] = []

    def start(self, function: str, data: dict[str, Any], parent: tuple[Run, str] | None = None) -> Run:
        event = {"id": uuid.uuid4().hex, "name": f"cloche/{function}.start", "data": data, "ts": self.now}
        run = Run(function, event, parent=parent)
        self.runs.append(run)
        self._at(0, run, "step", 0)
        return run

    def send(self, name: str, data: dict[str, Any]) -> int:
        """How many runs waited for it."""
        event = {"id": uuid.uuid4().hex, "name": name, "data": data, "ts": self.now}
        taken = 0
        for run in self.runs:
            for id, wait in list(run.waits.items()):
                if wait["event"] == name and _holds(wait["if"] or "", data):
                    del run.waits[id]
                    self._memoise(run, id, event)
                    taken += 1
        return taken

    async def until(self, run: Run, is_waiting: bool = False) -> None:
        """Go on until a run has ended; with `is_waiting` also when it waits for an event and nothing else is under way now."""
        while self._queue and run.status == "Running":
            if is_waiting and run.waits and self._queue[0][0] > self.now:
                return
            due, _, _, one, target, attempt = heapq.heappop(self._queue)
            self.now = max(self.now, due)
            if callable(target):
                target()
            elif one.status == "Running":
                await self.call(one, target, attempt)
                if target == "step" and one.status == "Running" and self._random.random() < self._duplicates:
                    await self.call(one, target, attempt)  # at least once

    async def until_next_time(self, run: Run) -> None:
        """Let the next thing that is due come: a run waits for something else than what was sent."""
        if self._queue:
            self.now = max(self.now, self._queue[0][0])
            await self.until(run, is_waiting=True)

    async def call(self, run: Run, target: str, attempt: int) -> None:
        """One call request (4.4)."""
        self.requests += 1
        steps, stack = run.planned.get(target, (run.steps, run.stack))
        body = {
            "event": run.event,
            "events": [run.event],
            "steps": steps,
            "use_api": False,
            "ctx": {
                "run_id": run.id,
                "attempt": attempt,
                "disable_immediate_execution": run.is_parallel,
                "use_api": False,
                "stack": {"stack": stack, "current": len(stack)},
            },
        }
        query = {"fnId": f"{self._app_id}-{run.function}", "stepId": target}
        answer = await self._http.post("/api/inngest", params=query, json=body)
        if answer.status_code == 200:
            self._end(run, "Completed", answer.json())
        elif answer.status_code == 206:
            ops = answer.json() if isinstance(answer.json(), list) else [answer.json()]
            run.is_parallel = run.is_parallel or len(ops) > 1
            for op in ops:
                self._operation(run, op, attempt)
        elif answer.headers.get("x-inngest-no-retry") == "true" or attempt >= self._retries[run.function]:
            self._end(run, "Failed", answer.json())
        else:
            self._at(_delay_ms(answer.headers.get("retry-after")), run, target, attempt + 1)

    # ---- inside ----

    def _at(self, delay: int, run: Run, target: Target, attempt: int) -> None:
        entry = (self.now + delay, self._random.random(), self.requests * 1000 + len(self._queue), run, target, attempt)
        heapq.heappush(self._queue, entry)

    def _operation(self, run: Run, op: dict[str, Any], attempt: int) -> None:
        """What a function reports (5.1, 5.3)."""
        id, kind, opts = op["id"], op["op"], op.get("opts") or {}
        if kind in ("StepRun", "Step"):
            self._memoise(run, id, {"data": op.get("data")})
        elif kind in ("StepError", "StepFailed"):
            if kind == "StepError" and attempt < self._retries[run.function]:
                self._at(0, run, id, attempt + 1)
            else:
                self._memoise(run, id, {"error": op["error"]})
        elif id not in run.known:
            run.known.add(id)
            self._begin(run, id, kind, op.get("name"), opts)

    def _begin(self, run: Run, id: str, kind: str, name: Any, opts: dict[str, Any]) -> None:
        match kind:
            case "StepPlanned":
                if self._random.random() < 0.5:  # its request is on its way while others end
                    run.planned[id] = dict(run.steps), list(run.stack)
                self._at(0, run, id, 0)
            case "Sleep":
                due = int(datetime.fromisoformat((name or opts["duration"]).replace("Z", "+00:00")).timestamp() * 1000)
                self._at(max(0, due - self.now), run, lambda: self._memoise(run, id, None), 0)
            case "WaitForEvent":
                run.waits[id] = {"event": name or opts["event"], "if": opts.get("if")}
                self._at(_millis(opts["timeout"]), run, lambda: self._time_out(run, id), 0)
            case "InvokeFunction":
                self.start(opts["function_id"].removeprefix(self._app_id + "-"), opts["payload"]["data"], (run, id))
            case _:
                raise AssertionError(kind)

    def _time_out(self, run: Run, id: str) -> None:
        if run.waits.pop(id, None) is not None:
            self._memoise(run, id, None)

    def _memoise(self, run: Run, id: str, value: Any) -> None:
        if id in run.steps or run.status != "Running":
            return
        run.steps[id] = value
        run.stack.append(id)
        self._at(0, run, "step", 0)

    def _end(self, run: Run, status: str, output: Any) -> None:
        run.status, run.output = status, output
        if run.parent is not None:
            parent, id = run.parent
            error = {"name": "Error", "message": str(output), "stack": ""}
            self._memoise(parent, id, {"data": output} if status == "Completed" else {"error": error})


def _holds(condition: str, data: dict[str, Any]) -> bool:
    """Whether an event fits: alternatives in brackets, joined by `&&`, as far as the adapter writes them."""
    for part in condition.split(" && "):
        tests = re.findall(r"async\.data\.(\w+) == '((?:[^'\\]|\\.)*)'", part)
        if not any(str(data.get(key)) == re.sub(r"\\(.)", r"\1", value) for key, value in tests):
            return False
    return True


def _millis(text: str) -> int:
    return sum(int(float(count) * UNITS[unit]) for count, unit in re.findall(r"([\d.]+)(ms|s|m|h|d|w)", text))


def _delay_ms(retry_after: str | None) -> int:
    if retry_after is None:
        return 10_000
    return int(max(0.0, datetime.fromisoformat(retry_after).timestamp() - datetime.now(UTC).timestamp()) * 1000)


def dumped(value: Any) -> Any:
    """A value as JSON has it."""
    return json.loads(json.dumps(value))
