"""What the store has, in the forms of the API."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Literal

from cloche.client import FailureGroup, RunRow, Usage
from cloche.http.models import Action, Blocked, RunOut, RunWhole, UsageOut, Why
from cloche.http.principals import Principal
from cloche.operations.forms import instant, record_body, record_head, shown_id
from cloche.operations.view import RunView, blocked_sentence
from cloche.status import FINAL, RunStatus

HEAD_BYTES_MAX = 4096  # a body of which `bodies=head` gives the whole
Bodies = Literal["none", "head", "full"]
_RESUME, _EVENT, _CANCEL, _DELETE = (
    Action(name="resume", method="POST", href="resume"),
    Action(name="event", method="POST", href="events/{name}"),
    Action(name="cancel", method="POST", href="cancel"),
    Action(name="delete", method="DELETE", href="."),
)
_ACTIONS = {
    RunStatus.SUSPENDED: [_RESUME, _EVENT, _CANCEL],
    RunStatus.PAUSED: [_RESUME, _CANCEL],
    RunStatus.BLOCKED: [_CANCEL],
    **{status: [_DELETE] for status in FINAL},
}
_SENTENCES = {
    RunStatus.PENDING: "it waits for a worker to begin it",
    RunStatus.RUNNING: "it is at work, or the next worker takes it up",
    RunStatus.WAITING: "it waits for a time or an event",
    RunStatus.SUSPENDED: "a step waits for data",
    RunStatus.PAUSED: "it goes one entry at a time, and waits to be resumed",
    **{status: f"it has ended: {status}" for status in FINAL},
}


def view_data(view: RunView, principal: Principal) -> dict[str, Any]:
    """A run as it stands. Whoever reaches one tenant only is not told tracebacks of steps: they name files of the host."""
    data = view.to_data()
    if principal.tenant is not None:
        for failed in (data, *data["steps"].values()):
            if failed["error"] is not None:
                failed["error"]["traceback"] = None
    return data


def record_out(record: Any, bodies: Bodies, principal: Principal, *, tagged: bool) -> dict[str, Any]:
    """As `RecordOut`; tracebacks as in `view_data`. `tagged`: its values are as JavaScript has them."""
    head = record_head(record)
    is_whole = bodies == "full" or (bodies == "head" and head["size"] <= HEAD_BYTES_MAX)
    body = body_data(record, principal, tagged=tagged) if is_whole else None
    times: Any = getattr(record, "times", None)  # a stream knows them
    return {**head, "body": body, "is_whole": is_whole, "times": None if times is None else times.to_data()}


def body_data(record: Any, principal: Principal, *, tagged: bool) -> Any:
    """What a record holds, as JSON has it; tracebacks as in `view_data`."""
    return record_body(record, traced=principal.tenant is None, tagged=tagged)


def principal_out(principal: Principal, default: str) -> dict[str, Any]:
    """As `PrincipalOut`; `default`: the tenant of the server's client."""
    reached = principal.tenant
    return {"id": principal.id, "role": principal.role.label, "tenant": reached, "default_tenant": reached or default}


def run_out(row: RunRow) -> RunOut:
    """A run's entry in listings."""
    return RunOut.model_construct(**_row(row))


def run_whole(row: RunRow) -> RunWhole:
    """A run, with the reason why it does not move as its row tells it."""
    return RunWhole.model_construct(**_row(row), why=_why(row))


def pending(tenant: str, view: RunView) -> RunWhole:
    """A run that no worker has begun."""
    why = Why(kind=RunStatus.PENDING, since=None, until=None, sentence=view.why, actions=[_CANCEL])
    empty = dict.fromkeys(("head_hash", "code", "created_at", "updated_at", "wake_at", "blocked"))
    result = view.result
    return RunWhole.model_construct(
        id=result.run_id,
        shown_id=shown_id(result.run_id),
        tenant=tenant,
        workflow=result.workflow_id,
        status=result.status,
        records=0,
        is_owned=False,
        why=why,
        **empty,
    )


def tag(row: RunRow) -> str:
    """Another one after every change of the row."""
    parts = (row.head_hash.hex(), row.status, row.wake_at, row.problem, row.owner is not None)
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def usage_out(used: Usage) -> UsageOut:
    return UsageOut.model_construct(**{name: getattr(used, name) for name in UsageOut.model_fields})


def failure_out(one: FailureGroup) -> dict[str, Any]:
    alike = {name: getattr(one, name) for name in ("tenant", "workflow", "error", "step", "count")}
    return {**alike, "first": instant(one.first), "last": instant(one.last), "example": one.example.run}


def _row(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.key.run,
        "shown_id": row.id,
        "tenant": row.key.tenant,
        "workflow": row.workflow,
        "status": row.status,
        "records": row.head_seq,
        "head_hash": row.head_hash.hex(),
        "code": row.code,
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
        "wake_at": instant(row.wake_at) if row.wake_at is not None else None,
        "blocked": Blocked(**json.loads(row.problem)) if row.problem else None,
        "is_owned": row.owner is not None,
    }


def _why(row: RunRow) -> Why:
    if row.problem is not None:
        problem = json.loads(row.problem)
        sentence = blocked_sentence(problem)
    else:
        sentence = _SENTENCES.get(row.status, str(row.status))
    return Why.model_construct(
        kind=row.status,
        since=instant(row.updated_at),
        until=instant(row.wake_at) if row.wake_at is not None else None,
        sentence=sentence,
        actions=_ACTIONS.get(row.status, [_EVENT, _CANCEL]),
    )
