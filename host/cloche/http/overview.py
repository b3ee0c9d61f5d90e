"""What a page about many runs asks beside its rows: how many stand where, and for the rows that are seen why they do not move.

Both are bounded: statuses are counted up to `COUNTED_MAX`, and a run with a long history is not read for its reason.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.client import RunRow, TenantRuns
from cloche.errors import ClocheError, NotFound
from cloche.http import shown
from cloche.http.bodies import answer
from cloche.http.models_of_many import ReasonList, SummaryOut
from cloche.http.principals import Role
from cloche.http.service import Tenant, needs, service_of
from cloche.operations.forms import instant
from cloche.operations.view import row_there
from cloche.status import FINAL, RunStatus

router = APIRouter()
COUNTED_MAX = 1000  # of each status
RECORDS_MAX = 2000  # of a run that is read for its reason: about 20 ms
STEPS_MAX = 24
RUNS_MAX = 40
TEXT_MAX = 500


@router.get("/summary", response_model=SummaryOut, **needs(Role.VIEWER))
async def get_summary(request: Request, runs: Tenant) -> Response:
    """How many runs of the tenant stand where, counted up to 1,000 of each status; the oldest of those that wait for a person;
    how many failed and were not retried; and how many workers there are."""
    counts, oldest = dict[str, dict[str, Any]](), None
    for status in RunStatus:
        page = await runs.find(status=status, limit=COUNTED_MAX)
        if page or page.next is not None:
            counts[str(status)] = {"count": len(page), "is_whole": page.next is None}
        if status is RunStatus.SUSPENDED and page:
            oldest = instant(min(row.updated_at for row in page))
    failed = None  # to group very many takes seconds
    if (those := counts.get(str(RunStatus.FAILED), {"count": 0, "is_whole": True}))["is_whole"]:
        failed = sum(one.count for one in await runs.failures(limit=COUNTED_MAX)) if those["count"] else 0
    workers = len(await service_of(request).client.workers())
    data = {"statuses": counts, "oldest_suspended": oldest, "failed_unretried": failed, "workers": workers}
    return answer(request, data)


@router.get("/reasons", response_model=ReasonList, **needs(Role.VIEWER))
async def list_reasons(
    request: Request,
    runs: Tenant,
    run: Annotated[
        list[str], Query(max_length=RUNS_MAX, description="Ids of runs; those that are not there are left out.")
    ],
) -> Response:
    """For each of these runs, in one line, why it does not move or how it ended, what moves it, and how its steps stand."""
    found = [await _reason(runs, id) for id in run]
    return answer(request, {"reasons": [one for one in found if one is not None]})


async def _reason(runs: TenantRuns, id: str) -> dict[str, Any] | None:
    try:
        row = await row_there(runs.connection.store, id, runs.tenant_id)
        if row is not None and row.head_seq > RECORDS_MAX:
            return _of_row(row)
        view = await runs.view(id)
    except NotFound:
        return None
    except ClocheError as error:  # its start was refused, or it is damaged
        return _out(id, "", "refused", error.message, [], {}, 0)
    result = view.result
    steps = {name: str(one.status) for name, one in list(result.steps.items())[:STEPS_MAX]}
    more = len(result.steps)
    if result.status in FINAL:
        return _out(id, result.status, "ended", _ended(view), ["retry"] * (result.status == "failed"), steps, more)
    why = await runs.why(id)
    return {
        **_out(id, result.status, why.kind, why.sentence, [one.name for one in why.actions], steps, more),
        "since": why.since,
        "until": why.until,
        "step": why.step,
        "question": _question(why),
        "event": next((one.event for one in why.asked if one.event), None),
    }


def _of_row(row: RunRow) -> dict[str, Any]:
    """Of a run that is too long to be read for a list."""
    short = shown.run_whole(row).why
    names = [one.name for one in short.actions]
    return _out(row.key.run, row.status, "ended" if row.status in FINAL else "long", short.sentence, names, {}, 0)


def _out(
    id: str, status: str, kind: str, sentence: str, actions: list[str], steps: dict[str, str], count: int
) -> dict[str, Any]:
    alike = {"run_id": id, "status": str(status), "kind": kind, "sentence": sentence[:TEXT_MAX], "actions": actions}
    empty = dict.fromkeys(("since", "until", "step", "question", "event"))
    return {
        **alike,
        **empty,
        "steps": [{"step": name, "status": one} for name, one in steps.items()],
        "steps_count": count,
    }


def _ended(view: Any) -> str:
    from cloche.operations.forms import to_json

    result = view.result
    if result.status == RunStatus.SUCCESS:
        return to_json(result.result)[:TEXT_MAX]
    return view.why if result.error is None else f"{result.error.name}: {result.error.message}"


def _question(why: Any) -> str | None:
    """The text that a suspended step asks with: a member `question`, `message` or the like of its payload, or the payload."""
    from cloche.operations.forms import to_json

    for one in why.asked:
        payload = one.payload
        if isinstance(payload, dict):
            for name in ("question", "message", "prompt", "title", "text", "reason"):
                if isinstance(payload.get(name), str):
                    return str(payload[name])[:TEXT_MAX]
        if payload not in (None, {}, ""):
            return payload[:TEXT_MAX] if isinstance(payload, str) else to_json(payload)[:TEXT_MAX]
    return None
