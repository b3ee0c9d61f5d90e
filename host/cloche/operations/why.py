"""Why a run does not move: the reason as data, and the actions that move it. `cloche show`, HTTP and pages say the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloche.errors import ClocheError
from cloche.history import Kind, RunId, RunKey, RunMachine
from cloche.history.failures import Failure
from cloche.history.ids import retry_key
from cloche.history.lifecycles import RunPhase, StepPhase, TimerPhase
from cloche.history.marks import RETRY_OF, step_of, tags_in
from cloche.history.messages import FailRun
from cloche.history.notes import AttemptFailed, RunStopped, unpack_note
from cloche.history.permitted import WHOLE_RUN
from cloche.history.reading import message_of
from cloche.history.resting import waits_for_others
from cloche.history.resuming import Retriable
from cloche.history.timing import WORK, Timing
from cloche.operations.forms_asked import attempts_of, event_schema, step_schema
from cloche.operations.limits import PermitWait, wait_of
from cloche.operations.moves import Action, Asked, cancel, moves_of, start_worker
from cloche.operations.on_their_way import on_their_way
from cloche.operations.replay import blocked_sentence, row_of
from cloche.operations.start_requests import waiting_start
from cloche.operations.timing import FAR_MS, is_far, usual_times
from cloche.run.child_waits import child_waits
from cloche.run.code import load_code
from cloche.status import FINAL, RunStatus
from cloche.store import HELD_BACK, read_through
from cloche.text import duration, shown
from cloche.worker.answers import refused_since, refused_token, start_token
from cloche.worker.offers import published

if TYPE_CHECKING:
    from cloche.history import CallId, Record, TimeMs
    from cloche.store import RunRow, Store


CHILDREN_DEEP = 8  # a run waits for a run that waits for a run: so far down the reason is looked for


@dataclass(frozen=True, slots=True)
class Why:
    """The reason why a run does not move.

    kind: `ended`, `blocked`, `held` (an operator holds its tenant or code back), `no-worker` (nobody has the workflow),
        `to-begin`, `queued`, `paused`, `suspended`, `event`, `child`, `timer`, `retry` (a step failed and is tried again),
        `permit` (a step waits for a permit of a limit, or the run does before it begins),
        `step` (steps are under way), `remote` (remote workers have steps, or are to have them), `canceling`, `unowned` (the
        next worker takes it up) or `at-work`.
    since, until: ms since 1970; None: not known, or nothing is due.
    step: the path of the call that it waits for. attempt, attempts_max: which of how many attempts, from 1; None: not known.
    worked_ms, usually_ms: of a step at work for far longer than it usually is, both.
    last_error: name and message of the attempt that failed last, of that step.
    asked: what is waited for from outside. on_its_way: requests that a worker will tell the run.
    refused: why a worker has refused the last answer, since the run waits for it.
    worker: who drives it, or what a worker must have to.
    children: the ids of the runs that it waits for.
    limit: what it waits for a permit of: name, key, kind, most, per_s, used, free_at, the runs of its tenant that hold it, and
        how many of its tenant wait before it.
    code: the digest of the code bundle that it is pinned to. version: its id, of code that the tenant has deployed.
    retry_of, retried_as: the run that it goes on from, and those that go on from it.
    actions: what moves it, the best one first.
    """

    run_id: str
    kind: str
    sentence: str
    since: TimeMs | None = None
    until: TimeMs | None = None
    step: str | None = None
    attempt: int | None = None
    attempts_max: int | None = None
    worked_ms: int | None = None
    usually_ms: int | None = None
    last_error: Mapping[str, str] | None = None
    asked: Sequence[Asked] = ()
    on_its_way: Sequence[str] = ()
    refused: str | None = None
    worker: str | None = None
    children: Sequence[str] = ()
    limit: PermitWait | None = None
    code: str | None = None
    version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    retried_as: Sequence[str] = ()
    retry_of: str | None = None
    actions: Sequence[Action] = field(default=())

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def why(store: Store, key: RunKey, now: TimeMs, depth: int = 0) -> Why:
    """`depth`: how many runs above this one wait for it.

    Raises:
        NotFound: there is no such run.
        ClocheError: what the request to start it was refused with.
        HistoryError: it is damaged.
    """
    if await waiting_start(store, key) is not None:
        return await _to_begin(store, key)
    row = await row_of(store, key)
    reading = _Reading(RunMachine(key))
    await read_through(store, key, reading.take)
    marks = await store.marks(key)
    lineage: dict[str, Any] = {
        "tags": tags_in(marks),
        "retry_of": marks.get(RETRY_OF),
        "retried_as": await _retried_as(store, key),
        "code": row.code,
        "version": await _version(store, row),
    }
    found = await _reason(store, row, reading, now)
    await _complete(store, row, reading, found, now)
    on_its_way = await on_their_way(store, reading.machine)
    known = found | lineage | {"goes_on": reading.retry.goes_on}
    moves = [*await _of_child(store, key, found, now, depth), *moves_of(row, known)]
    found.pop("remote_step", None)
    return Why(run_id=key.run, **found, **lineage, on_its_way=on_its_way, actions=moves)


async def _retried_as(store: Store, key: RunKey) -> list[str]:
    """Also the one that was asked for and that no worker has begun."""
    found: list[str] = [one.run for one in await store.retries(key)]
    asked = retry_key(key)
    return found if found or await store.request(start_token(asked)) is None else [asked.run]


async def _version(store: Store, row: RunRow) -> str | None:
    """The id of the version that its tenant has deployed; None: its code is that of a worker, or was withdrawn."""
    versions = await store.versions(row.key.tenant, row.workflow)
    return next((one.id for one in versions if one.digest == row.code), None)


async def _complete(store: Store, row: RunRow, reading: _Reading, found: dict[str, Any], now: TimeMs) -> None:
    """What the code of the run says of its reason, and whether a step takes far longer than usual."""
    if found["kind"] in ("suspended", "event"):
        code = await load_code(store, row.code)
        names = {one.path: one.step for one in reading.machine.open.suspensions()}
        found["asked"] = [
            replace(
                one, schema=event_schema(code, one.event) if one.event else step_schema(code, names.get(one.step, ""))
            )
            for one in found["asked"]
        ]
        found["refused"] = refused_since(await store.answer(refused_token(row.key)), found["since"])
    if found.get("attempt") and found["attempts_max"] is None and (call := reading.of_path(found["step"])) is not None:
        one, name = reading.machine.open[call], reading.machine.open.start_of(call).name
        found["attempts_max"] = attempts_of(await load_code(store, row.code), one, name)
    if found["kind"] == "step":
        reading.timing.assume_begun()
    if found["kind"] in ("step", "unowned"):
        for call_times in reading.timing.open.values():
            if call_times.doing != WORK or now - call_times.since < FAR_MS:
                continue
            usually = (await usual_times(store, row)).get(step_of(call_times.path))
            if usually is not None and is_far(call_times, usually, now):
                worked = now - call_times.since
                found |= {"step": call_times.path, "worked_ms": worked, "usually_ms": usually}
                found["sentence"] += (
                    f"; {call_times.path} has worked for {duration(worked)}, far longer than usual ({duration(usually)})"
                )
                return


async def _of_child(store: Store, key: RunKey, found: dict[str, Any], now: TimeMs, depth: int) -> list[Action]:
    """What moves the first child that is waited for; the sentence says why that does not move."""
    if found["kind"] != "child" or not found["children"] or depth >= CHILDREN_DEEP:
        return []
    child = RunKey(key.tenant, RunId(found["children"][0]))
    try:
        reason = await why(store, child, now, depth + 1)
    except ClocheError as error:  # it was deleted, or its start was refused
        found["sentence"] += f"; {error.message}"
        return []
    found["sentence"] += f"; of that: {reason.sentence}"
    at = "../" + quote(child.run, safe="")
    return [
        replace(one, href=f"{at}/{one.href}" if one.href else "")
        for one in reason.actions
        if one.name not in ("cancel", "delete")
    ]


class _Reading:
    """The machine of a run, and of each open call when it came to where it stands and how it failed last."""

    def __init__(self, machine: RunMachine) -> None:
        self.machine = machine
        self.timing = Timing()
        self.moved: dict[int, TimeMs] = {}
        self.failed: dict[int, AttemptFailed] = {}
        self.failure: Failure | None = None
        self.last: TimeMs | None = None
        self.retry = Retriable()

    def take(self, page: list[Record]) -> None:
        for record in page:
            self.machine.absorb(record)
            self.timing.take(record)
            self.retry.take(record)
            self.last = record.time
            if record.kind in (Kind.RUN_FAILED, Kind.RUN_STOPPED):
                message = message_of(record)
                assert isinstance(message, FailRun | RunStopped)
                self.failure = message.failure
            if record.call is None or record.call not in self.machine.open:
                continue
            self.moved[record.call] = record.time
            if record.kind is Kind.ATTEMPT_FAILED:
                note = unpack_note(record)
                assert isinstance(note, AttemptFailed)
                self.failed[record.call] = note

    def of_call(self, call: int) -> dict[str, Any]:
        """What is known of an open call."""
        one, failed = self.machine.open[call], self.failed.get(call)  # type: ignore[index]
        error = _error(failed.failure) if failed is not None else None
        attempt = max(one.attempt, 1) if isinstance(one.phase, StepPhase) else None
        most = (failed.attempts_max or None) if failed is not None else None
        about = {"step": one.path, "attempt": attempt, "attempts_max": most}
        return {**about, "since": self.moved.get(call), "last_error": error}

    def at_work(self) -> CallId | None:
        """The first call that is under way, or was to be."""
        calls = sorted(self.machine.open.items())
        return next((call for call, one in calls if one.phase in (StepPhase.CALLED, StepPhase.RUNNING)), None)

    def of_path(self, path: str | None) -> CallId | None:
        """The first open call of a step that stands there."""
        calls = sorted(self.machine.open.items())
        return next((call for call, one in calls if one.path == path and isinstance(one.phase, StepPhase)), None)


def _error(failure: Failure) -> dict[str, str]:
    return {"name": failure.name, "message": failure.message}


async def _to_begin(store: Store, key: RunKey) -> Why:
    request = await waiting_start(store, key)
    assert request is not None
    name, run = request.workflow, shown(key.run)
    offered = name in (await published(store)).offers
    deployed = await store.version_of(key.tenant, name) is not None
    waiting = await store.requests(key)
    since = min((row.posted_at for row in waiting), default=None)
    if offered or deployed:
        sentence = f"run {run} begins when a worker with workflow '{name}' is running and has room"
        moves = [start_worker(f"Start a worker that has workflow '{name}'", name), cancel(key)]
        return Why(run_id=key.run, kind="to-begin", sentence=sentence, since=since, worker=name, actions=moves)
    start = start_worker(f"Start a worker that has workflow '{name}'", name)
    sentence = f"run {run} waits for a worker that has workflow '{name}': nobody has it"
    return Why(
        run_id=key.run, kind="no-worker", sentence=sentence, since=since, worker=name, actions=[start, cancel(key)]
    )


async def _reason(store: Store, row: RunRow, reading: _Reading, now: TimeMs) -> dict[str, Any]:
    """Kind, sentence, and what belongs to it."""
    machine = reading.machine
    if row.status in FINAL:
        failure, step = reading.failure, reading.machine.open.failed_at
        failed = {"step": step, "last_error": _error(failure)} if failure is not None else {}
        return {"kind": "ended", "sentence": f"it has ended: {row.status}", "since": row.updated_at, **failed}
    for hold in await store.holds(row.key.tenant):
        if hold.code in ("", row.code):
            what = "its tenant is suspended" if not hold.code else "its code is in quarantine"
            facts = {"kind": "held", "sentence": f"{what}: {hold.reason}", "since": hold.held_at}
            return {**facts, "worker": hold.code or None}
    if row.problem is not None:
        problem = json.loads(row.problem)
        about = reading.of_call(call) if (call := reading.at_work()) is not None else {}
        return {"kind": "blocked", "sentence": blocked_sentence(problem), **about, "since": row.updated_at}
    if row.status == RunStatus.PENDING and row.wake_at == HELD_BACK:
        return {**await _permit(store, row, WHOLE_RUN, "it begins", now), "since": row.created_at}
    if row.status == RunStatus.PENDING:
        sentence = f"it begins when runs of tenant {row.key.tenant} have made room; a worker must be running then"
        return {"kind": "queued", "sentence": sentence, "since": row.created_at}
    if machine.phase is RunPhase.PAUSED:
        return {
            "kind": "paused",
            "sentence": "it goes one entry at a time, and waits to be resumed",
            "since": reading.last,
        }
    if machine.phase in (RunPhase.CANCELING, RunPhase.CLEANING_UP):
        sentence = "it was canceled, and ends when what is under way has ended"
        return {"kind": "canceling", "sentence": sentence, "since": reading.last, "worker": row.owner}
    if machine.open.child_runs and waits_for_others(machine):
        waits = await child_waits(store, machine)
        calls = machine.open.children()
        names = [one.run_id for one in waits]
        sentence = f"it waits for {', '.join(shown(name) for name in names) or 'a child run'}"
        return {"kind": "child", "sentence": sentence, "children": names, **reading.of_call(calls[0])}
    if waits_for_others(machine):
        call = min(call for call, one in machine.open.items() if one.phase is StepPhase.QUEUED)
        about = await _permit(store, row, call, machine.open[call].path, now)
        return {**about, **reading.of_call(call), "worker": row.owner}
    return await _remote(store, row, reading, now) or _waits(row, reading, now)


async def _permit(store: Store, row: RunRow, call: CallId, who: str, now: TimeMs) -> dict[str, Any]:
    wait = await wait_of(store, row.key, now, call)
    what = wait.sentence() if wait is not None else "its permit, which is on its way to the run"
    sentence = f"{who} waits for {what}" if call else f"{who} when it has {what}"
    return {"kind": "permit", "sentence": sentence, "limit": wait, "until": wait and wait.free_at}


async def _remote(store: Store, row: RunRow, reading: _Reading, now: TimeMs) -> dict[str, Any] | None:
    """Where nothing is at work here, and remote workers have steps, or are to have them."""
    calls = reading.machine.open
    if not calls.away or calls.active:
        return None
    tasks = {one.call: one for one in await store.remote_tasks(key=row.key)}
    untaken = [call for call in sorted(calls.away) if call in tasks and tasks[call].holder is None]
    call = (untaken or sorted(calls.away))[0]
    task = tasks.get(call)
    if task is None:
        sentence = f"what came of {calls[call].path} is on its way to the run"
    elif task.holder is None and (again := task.given_back) is not None:
        sentence = f"{task.path} is pushed to its receiver again {_in(again.due_at, now)}: {shown(again.problem)}"
    elif task.holder is None:
        sentence = f"{task.path} waits for a remote worker that has step '{task.step}'"
    else:
        sentence = f"{task.path} is performed by remote worker {shown(task.holder.strip())}"
    about = {"worker": task and task.holder, "remote_step": task and task.step, **reading.of_call(call)}
    return {"kind": "remote", "sentence": sentence, **about}


def _waits(row: RunRow, reading: _Reading, now: TimeMs) -> dict[str, Any]:
    machine = reading.machine
    working = [call for call, one in sorted(machine.open.items()) if one.phase in (StepPhase.CALLED, StepPhase.RUNNING)]
    if working:
        return _at_work(row, reading, working)
    retries = [(one.due, call) for call, one in machine.open.items() if one.phase is StepPhase.BACKOFF]
    suspended = machine.open.suspensions()
    hooks = machine.open.hooks()
    until = machine.open.next_due
    if retries:
        due, call = min(retries)
        about = reading.of_call(call)
        times = f"{about['attempt']} of {about['attempts_max']}" if about["attempts_max"] else about["attempt"]
        sentence = f"attempt {times} of step {about['step']} failed, and it is tried again {_in(due, now)}"
        return {"kind": "retry", "sentence": sentence, "until": due, **about}
    if suspended:
        first = suspended[0]
        asked = [Asked(one.path, one.payload, one.labels) for one in suspended]
        wait = "waits" if len(suspended) == 1 else "wait"
        sentence = f"{', '.join(one.path for one in suspended)} {wait} for data"
        about = {**reading.of_call(first.call), "last_error": None}
        return {"kind": "suspended", "sentence": sentence, "until": until, "asked": asked, **about}
    if hooks:
        asked = [Asked(one.path, event=one.name) for one in hooks]
        sentence = f"it waits for event {', '.join(one.name for one in hooks)}"
        return {"kind": "event", "sentence": sentence, "until": until, "asked": asked, **reading.of_call(hooks[0].call)}
    timers = [(one.due, call) for call, one in machine.open.items() if isinstance(one.phase, TimerPhase)]
    if timers:
        due, call = min(timers)
        sentence = f"it sleeps, and goes on {_in(due, now)}; a worker must be running then"
        return {"kind": "timer", "sentence": sentence, "until": due, **reading.of_call(call)}
    kind = "at-work" if row.owner is not None else "unowned"
    return {"kind": kind, "sentence": _owned(row), "since": reading.last, "worker": row.owner}


def _at_work(row: RunRow, reading: _Reading, working: Sequence[int]) -> dict[str, Any]:
    about = reading.of_call(working[0])
    names = ", ".join(reading.machine.open[call].path for call in working[:3])  # type: ignore[index]
    more = f" and {len(working) - 3} more" if len(working) > 3 else ""
    if row.owner is None:
        go = "goes" if len(working) == 1 else "go"
        return {"kind": "unowned", "sentence": f"{names}{more} {go} on when a worker runs: {_owned(row)}", **about}
    are = "is" if len(working) == 1 else "are"
    return {"kind": "step", "sentence": f"{names}{more} {are} at work in {row.owner}", "worker": row.owner, **about}


def _owned(row: RunRow) -> str:
    return (
        f"worker {row.owner} drives it"
        if row.owner is not None
        else "no worker drives it now; the next one takes it up"
    )


def _in(due: int, now: int) -> str:
    return f"in {duration(max(0, due - now))}"
