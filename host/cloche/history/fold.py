"""The fold: what a run was at any record, as a pure function of the heads up to there.

`RunFold` takes one head after the other, and `state()` says what the run is then, as data. The dashboard has the same fold in
TypeScript (`host/dashboard/src/run/fold.ts`); a golden table made from real runs holds the two together. Kinds of records that
this version does not know change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cloche.history.heads import Head
from cloche.status import RunStatus

# How a call stands. `queued`: ready, and nothing does it yet. `away`: a remote worker does it, or will. `retry`: it failed,
# and is tried again. `waiting`: for a time or an event. `child`: for a run of its own. The last three have ended.
STATUSES: Final = (
    "queued", "running", "away", "retry", "suspended", "waiting", "child", "success", "failed", "canceled",
)  # fmt: skip
ENDED: Final = ("success", "failed", "canceled")
# What a call did with its time. `lost`: an attempt whose process ended.
SEGMENTS: Final = ("queue", "work", "failed", "lost", "retry", "suspended", "waiting", "child")
_KINDS: Final = {"step_called": "step", "timer_set": "timer", "hook_opened": "hook", "child_started": "child"}
_BEGINS: Final = {"step": "queued", "timer": "waiting", "hook": "waiting", "child": "child"}
_ENDS: Final = {
    "step_completed": "success", "step_bailed": "success", "step_failed": "failed", "timer_fired": "success",
    "hook_received": "success", "hook_failed": "failed", "child_ended": "success", "call_abandoned": "canceled",
}  # fmt: skip
_OVER: Final = {
    "run_completed": "success", "run_failed": "failed", "run_stopped": "failed", "run_canceled": "canceled",
    "run_canceled_by_code": "canceled", "run_continued_as_new": "continued",
}  # fmt: skip
_TURN: Final = re.compile(r"\[\d+\]|#\d+(?=/|$)")


@dataclass(slots=True)
class CallState:
    """A step, timer, event or child run that the code has called. Times in ms since 1970; a `to` of None goes on."""

    call: int
    kind: str
    name: str
    path: str
    seq: int  # of the record that called it
    status: str
    called_at: int
    since: int  # when it came to stand as it stands
    ended_at: int | None = None
    ended_seq: int | None = None
    attempt: int = 0
    due: int | None = None  # when a timer fires, or the next attempt begins
    error: dict[str, str] | None = None  # of the attempt that failed last, or of the call
    run: str | None = None  # the id of a child
    segments: list[list[Any]] = field(default_factory=list)  # [what, from, to]

    @property
    def is_open(self) -> bool:
        return self.status not in ENDED

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class BlockState:
    """A nested workflow, map, foreach or item of one that was entered. `to` is None while it is not left."""

    path: str
    seq: int
    status: str
    since: int
    to: int | None = None
    error: dict[str, str] | None = None

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class RunFold:
    """The state of a run as its heads make it. `calls` and `blocks` are all that there were, by number and by path."""

    def __init__(self) -> None:
        self.seq = self.time = 0
        self.phase = "pending"
        self.calls: dict[int, CallState] = {}
        self.blocks: dict[str, BlockState] = {}
        self.tags: dict[str, Any] = {}
        self.deadline: int | None = None
        self.error: dict[str, str] | None = None
        self.busy_ms = 0  # how long something was queued or at work
        self._open: dict[int, CallState] = {}

    def take(self, head: Head) -> None:
        """Take in the next record."""
        seq, kind, told, call, path, facts = head
        time = max(self.time, told)  # clocks of two processes differ: for a run it never goes back
        if self._is_busy():
            self.busy_ms += time - self.time
        self.seq, self.time = seq, time
        given = facts or {}
        if call is not None:
            self._of_call(seq, kind, time, call, path, given)
        elif kind == "entered" and path is not None:
            self.blocks[path] = BlockState(path, seq, "running", time)
        elif kind == "left" and path is not None:
            self._leave(seq, time, path, given)
        else:
            self._of_run(seq, kind, time, given)

    @property
    def status(self) -> str:
        """That of the run, in the words of `RunStatus`. Whether it is blocked stands in no record."""
        if self.phase not in ("running", "canceling"):
            return RunStatus.RUNNING if self.phase == "cleaning" else self.phase
        standing = [one.status for one in self._open.values()]
        if not standing or any(one in ("queued", "running", "child") for one in standing):
            return RunStatus.RUNNING
        has_due = any(one.due is not None or one.status == "retry" for one in self._open.values())
        return RunStatus.SUSPENDED if "suspended" in standing and not has_due else RunStatus.WAITING

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "seq": self.seq,
            "time": self.time,
            "phase": self.phase,
            "status": str(self.status),
            "busy_ms": self.busy_ms,
            "error": self.error,
            "tags": self.tags,
            "deadline": self.deadline,
            "calls": [one.to_data() for one in self.calls.values()],
            "blocks": [one.to_data() for one in self.blocks.values()],
            "nodes": {place: node.status for place, node in sorted(self.nodes().items())},
        }

    def nodes(self) -> dict[str, NodeState]:
        """How each place of the code stands, by its path without turns."""
        found: dict[str, NodeState] = {}
        for block in self.blocks.values():
            place = place_of(block.path)
            found.setdefault(place, NodeState()).take_block(block, is_whole=place == block.path)
        for call in self.calls.values():
            place = place_of(call.path)
            found.setdefault(place, NodeState()).take_call(call)
            if call.is_open:
                for above in places_above(place):
                    found.setdefault(above, NodeState()).inside.append(call.status)
        return found

    def _is_busy(self) -> bool:
        return any(one.status in ("queued", "running", "away") for one in self._open.values())

    # ---- calls ----

    def _of_call(self, seq: int, kind: str, time: int, call: int, path: str | None, facts: dict[str, Any]) -> None:
        if kind in _KINDS:
            self._begin(seq, _KINDS[kind], time, call, path or "", facts)
        elif (found := self._open.get(call)) is not None:
            if kind in _ENDS:
                error = facts.get("error")
                self._end(found, seq, time, "failed" if error is not None else _ENDS[kind], error)
            else:
                _move(found, kind, time, facts)

    def _begin(self, seq: int, kind: str, time: int, call: int, path: str, facts: dict[str, Any]) -> None:
        status, what = _BEGINS[kind], {"step": "queue", "child": "child"}.get(kind, "waiting")
        made = CallState(call, kind, facts.get("name", path), path, seq, status, time, time, run=facts.get("run"))
        made.segments.append([what, time, None])
        if kind == "hook":
            made.due = time + facts["heartbeat"] if "heartbeat" in facts else None
        else:
            made.due = facts.get("due")
        self.calls[call] = self._open[call] = made

    def _end(self, call: CallState, seq: int, time: int, status: str, error: dict[str, str] | None) -> None:
        last = call.segments[-1]
        _close(call, time)
        if status == "failed" and last[0] == "work":
            last[0] = "failed"
        call.status, call.since, call.ended_at, call.ended_seq, call.due = status, time, time, seq, None
        call.error = error if status == "failed" else None
        self._open.pop(call.call, None)

    # ---- blocks and the run ----

    def _leave(self, seq: int, time: int, path: str, facts: dict[str, Any]) -> None:
        block = self.blocks.get(path)
        if block is not None:
            error = facts.get("error")
            block.status, block.to, block.error = "success" if error is None else "failed", time, error
        for call in [one for one in self._open.values() if _is_under(one.path, path)]:
            self._end(call, seq, time, "canceled", None)

    def _of_run(self, seq: int, kind: str, time: int, facts: dict[str, Any]) -> None:
        self.tags = _merged(self.tags, facts.get("tags", {}))
        if kind in ("run_created", "deadline_set"):
            self.deadline = facts.get("deadline")
        if kind in _OVER:
            self.phase, self.error = _OVER[kind], facts.get("error")
            for call in list(self._open.values()):
                self._end(call, seq, time, "canceled", None)
            for block in self.blocks.values():
                if block.to is None:
                    block.status, block.to = "canceled", time
        elif kind in ("run_started", "run_continued"):
            self.phase = "running"
        elif kind in ("run_paused", "cancel_requested", "cancel_delivered"):
            self.phase = {"run_paused": "paused", "cancel_requested": "canceling"}.get(kind, "cleaning")


@dataclass(slots=True)
class NodeState:
    """What happened at one place of the code: the block that stands there, its calls and turns, and what is open inside."""

    whole: str | None = None  # the status of the block
    items: list[str] = field(default_factory=list)  # of calls and turns
    inside: list[str] = field(default_factory=list)  # of open calls below

    def take_block(self, block: BlockState, *, is_whole: bool) -> None:
        if is_whole:
            self.whole = block.status
        else:
            self.items.append(block.status)

    def take_call(self, call: CallState) -> None:
        self.items.append(call.status)
        if call.is_open:
            self.inside.append(call.status)

    @property
    def status(self) -> str:
        """What is open decides, the busiest first; then how the block ended; then failures."""
        for status in STATUSES[:7]:
            if status in self.inside:
                return status
        if self.whole is not None:
            return self.whole
        return next((one for one in ("running", "failed", "success", "canceled") if one in self.items), "idle")


def folded(heads: Iterable[Head]) -> RunFold:
    """The fold of these heads, from the first record on."""
    fold = RunFold()
    for head in heads:
        fold.take(head)
    return fold


def place_of(path: str) -> str:
    """The place in the code that a path stands at: without turns of loops, items of lists and numbers of repeated calls."""
    return _TURN.sub("", path)


def places_above(place: str) -> list[str]:
    """The places that it stands in, from the outside in."""
    parts = place.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _move(call: CallState, kind: str, time: int, facts: dict[str, Any]) -> None:
    """What goes on with a call that stays open."""
    if kind in ("attempt_started", "attempt_sent"):
        _attempt(call, time, facts.get("queued", 0))
        call.attempt, call.due = facts.get("attempt", 1), None
        call.status, call.since = "running" if kind == "attempt_started" else "away", time
    elif kind == "attempt_queued":
        what, since, _ = call.segments[-1]
        if what == "work":
            call.segments[-1] = ["queue", since, since + facts["queued"]]
            call.segments.append(["work", since + facts["queued"], None])
    elif kind == "attempt_failed":
        _close(call, time, "failed")
        call.segments.append(["retry", time, None])
        call.status, call.since, call.error, call.due = "retry", time, facts["error"], facts.get("due")
    elif kind == "step_suspended":
        _close(call, time)
        call.segments.append(["suspended", time, None])
        call.status, call.since = "suspended", time
    elif kind == "step_resumed":
        _close(call, time)
        call.segments.append(["queue", time, None])
        call.status, call.since, call.attempt, call.error = "queued", time, 0, None


def _attempt(call: CallState, time: int, queued: int) -> None:
    what, since, _ = call.segments[-1]
    if what == "work":  # its process ended, and another one begins it again
        _close(call, time, "lost")
    elif what == "retry" and queued:
        ready = max(since, time - queued)
        call.segments[-1] = ["retry", since, ready]
        call.segments.append(["queue", ready, time])
    else:
        _close(call, time)
    call.segments.append(["work", time, None])


def _close(call: CallState, time: int, becomes: str | None = None) -> None:
    """The segment under way ends. One that took no time is none, except work."""
    last = call.segments[-1]
    last[2] = max(last[1], time)
    if becomes is not None and last[0] == "work":
        last[0] = becomes
    if last[0] in ("queue", "retry") and last[1] == last[2]:
        call.segments.pop()


def _merged(tags: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**tags, **more}.items() if value is not None}


def _is_under(path: str, place: str) -> bool:
    return path.startswith(place) and (len(path) == len(place) or path[len(place)] in "/[")
