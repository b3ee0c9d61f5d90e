"""What moves a run, or ends it: each for a button, a shell and a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloche.status import RunStatus
from cloche.text import for_shell, shown

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.store import RunRow


@dataclass(frozen=True, slots=True)
class Action:
    """What moves the run: for a button, a shell and a program. `href` is relative to that of the run, and with `method` empty
    where HTTP has none: a worker is started where it runs. `command` is empty where none does it: a remote worker is a program.
    """

    name: str
    description: str
    command: str
    call: str
    method: str
    href: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a suspended step, or an open event, waits for; `schema` is the JSON Schema of the answer, where one is known."""

    step: str
    payload: Any = None
    labels: Sequence[str] = ()
    event: str | None = None
    schema: Mapping[str, Any] | None = None


def moves_of(row: RunRow, found: Mapping[str, Any]) -> list[Action]:
    """What moves a run for which this reason was found, the best one first."""
    key, kind = row.key, found["kind"]
    if kind == "ended":
        failed = row.status in (RunStatus.FAILED, RunStatus.CANCELED) and not found["retried_as"]
        again = retry(key) if found.get("goes_on", True) else _retry_onto(row)
        return [again, _delete(key)] if failed else [_delete(key)]
    moves = [_answer(key, one, is_only=len(found["asked"]) == 1) for one in found.get("asked", ())]
    if kind == "paused":
        moves.append(_continue(key))
    if kind in ("unowned", "queued", "timer", "retry"):
        moves.append(start_worker("Start a worker of this store"))
    if kind == "blocked":
        moves += [
            start_worker(f"Start a worker with what workflow '{row.workflow}' needs", row.workflow),
            _upgrade(row),
        ]
    if kind == "remote" and found["worker"] is None and found["step"] is not None:
        moves.append(_start_remote_worker(found["remote_step"]))
    if kind == "permit" and found["limit"] is not None:
        moves.append(_see_limit(found["limit"].name))
    if kind == "held":
        moves.append(_release(key, found["version"] or row.workflow) if found["worker"] else _reinstate(key))
    return [*moves, cancel(key)]


def cancel(key: RunKey) -> Action:
    run, option = _named(key)
    call = f"await {_client(key)}.cancel({key.run!r})"
    return Action("cancel", "End the run", f"cloche cancel {run}{option}", call, "POST", "cancel")


def retry(key: RunKey) -> Action:
    run, option = _named(key)
    what, call = "Go on from where it failed, in a new run", f"await {_client(key)}.retry({key.run!r})"
    return Action("retry", what, f"cloche retry {run}{option}", call, "POST", "retry")


def _retry_onto(row: RunRow) -> Action:
    run, option = _named(row.key)
    what = "Go on under today's code, once that is mended, in a new run"
    command = f"cloche retry {run} --onto {for_shell(row.workflow)}{option}"
    call = f"await {_client(row.key)}.retry({row.key.run!r}, onto={row.workflow!r})"
    return Action("retry", what, command, call, "POST", "retry")


def start_worker(what: str, workflow: str = "…") -> Action:
    return Action("start-worker", what, "cloche worker TARGET", f"Cloche(…, workflows=[{workflow}])", "", "")


def _start_remote_worker(step: str) -> Action:
    what = f"Start a remote worker that has step '{step}'"
    return Action("start-remote-worker", what, "", f"StepWorker(URL, [{step}])", "", "")


def _see_limit(name: str) -> Action:
    what, call = "See who has its permits, and who waits", f"await client.limits({name!r})"
    return Action("see-limit", what, f"cloche limits {for_shell(name)}", call, "", "")


def _delete(key: RunKey) -> Action:
    run, option = _named(key)
    what, call = "Delete the run and its records", f"await {_client(key)}.delete({key.run!r})"
    return Action("delete", what, f"cloche prune --run {run}{option}", call, "DELETE", ".")


def _continue(key: RunKey) -> Action:
    run, option = _named(key)
    call = f"await {_client(key)}.request_resume({key.run!r})"
    return Action("resume", "Let it go on to its end", f"cloche resume {run}{option}", call, "POST", "resume")


def _upgrade(row: RunRow) -> Action:
    run, option = _named(row.key)
    call = f"await {_client(row.key, 'app')}.upgrade({row.key.run!r}, {row.workflow})"
    what = "Let it go on under today's code, if that fits what it has done"
    return Action("upgrade", what, f"cloche upgrade TARGET {run}{option}", call, "", "")


def _reinstate(key: RunKey) -> Action:
    call = f"await client.tenant({key.tenant!r}).reinstate()"
    command = f"cloche tenant reinstate {for_shell(key.tenant)}"
    return Action("reinstate", "Let the runs of its tenant go on", command, call, "", "")


def _release(key: RunKey, version: str) -> Action:
    command = f"cloche tenant release {for_shell(key.tenant)} --version {for_shell(version)}"
    call = f"await client.tenant({key.tenant!r}).release({version!r})"
    return Action("release", "Let the runs of its code go on", command, call, "", "")


def _answer(key: RunKey, one: Asked, *, is_only: bool) -> Action:
    run, option = _named(key)
    if one.event is not None:
        command = f"cloche event {run} {for_shell(one.event)} --data JSON{option}"
        call = f"await {_client(key)}.send_event({key.run!r}, {one.event!r}, …)"
        return Action(
            "event", f"Send the event {one.event}", command, call, "POST", f"events/{quote(one.event, safe='')}"
        )
    which = "" if is_only else f" --step {for_shell(one.step)}"
    named = "" if is_only else f", step={one.step!r}"
    command = f"cloche resume {run}{which} --data JSON{option}"
    call = f"await {_client(key)}.request_resume({key.run!r}{named}, resume_data=…)"
    return Action("resume", f"Answer {one.step}", command, call, "POST", "resume")


def _named(key: RunKey) -> tuple[str, str]:
    """The run's id for a shell, and the option that names its tenant."""
    return for_shell(shown(key.run)), "" if key.tenant == "default" else f" --tenant {for_shell(key.tenant)}"


def _client(key: RunKey, name: str = "client") -> str:
    """What a program asks of the runs of its tenant."""
    return name if key.tenant == "default" else f"{name}.tenant({key.tenant!r})"
