"""Endpoints for what begins a tenant's runs at set times."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.http.bodies import answer, body_of
from cloche.http.models import NothingBody, Started
from cloche.http.principals import Role
from cloche.http.schedule_models import FiringList, ScheduleBody, ScheduleList, ScheduleOut
from cloche.http.service import Id, NewId, Tenant, judged, needs, principal_of

router = APIRouter()


@router.get("/schedules", response_model=ScheduleList, **needs(Role.VIEWER))
async def list_schedules(request: Request, runs: Tenant) -> Response:
    """The schedules of the tenant, in the order of their ids."""
    return answer(request, {"schedules": [one.to_data() for one in await runs.schedules.list()]})


@router.get("/schedules/{schedule_id}", response_model=ScheduleOut, **needs(Role.VIEWER))
async def get_schedule(request: Request, runs: Tenant, schedule_id: Id) -> Response:
    """A schedule as it stands."""
    return answer(request, (await runs.schedules.get(schedule_id)).to_data())


@router.get("/schedules/{schedule_id}/firings", response_model=FiringList, **needs(Role.VIEWER))
async def list_firings(
    request: Request,
    runs: Tenant,
    schedule_id: Id,
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """What fired, and what was skipped and why, the newest first; `before` is the `number` of an entry."""
    page = await runs.schedules.firings(schedule_id, before=before, limit=limit)
    return answer(request, {"firings": [one.to_data() for one in page]})


@router.put("/schedules/{schedule_id}", response_model=ScheduleOut, **needs(Role.OPERATOR, body=ScheduleBody))
async def put_schedule(request: Request, runs: Tenant, schedule_id: NewId) -> Response:
    """Make a schedule, or change it. The same again changes nothing."""
    given: dict[str, Any] = dict(await body_of(request, ScheduleBody))
    by = principal_of(request).id
    put = await judged(runs.schedules.put(schedule_id, given.pop("workflow"), **given, by=by), 422)
    return answer(request, put.to_data())


@router.delete("/schedules/{schedule_id}", status_code=204, response_model=None, **needs(Role.OPERATOR))
async def delete_schedule(request: Request, runs: Tenant, schedule_id: Id) -> Response:
    """Forget a schedule; its runs stay."""
    await runs.schedules.delete(schedule_id, by=principal_of(request).id)
    return Response(None, 204)


@router.post("/schedules/{schedule_id}/pause", response_model=ScheduleOut, **needs(Role.OPERATOR, body=NothingBody))
async def pause_schedule(request: Request, runs: Tenant, schedule_id: Id) -> Response:
    """Begin no run until it is resumed."""
    await body_of(request, NothingBody)
    return answer(request, (await runs.schedules.pause(schedule_id, by=principal_of(request).id)).to_data())


@router.post("/schedules/{schedule_id}/resume", response_model=ScheduleOut, **needs(Role.OPERATOR, body=NothingBody))
async def resume_schedule(request: Request, runs: Tenant, schedule_id: Id) -> Response:
    """Go on with the instants after now."""
    await body_of(request, NothingBody)
    return answer(request, (await runs.schedules.resume(schedule_id, by=principal_of(request).id)).to_data())


@router.post(
    "/schedules/{schedule_id}/fire",
    status_code=202,
    response_model=Started,
    **needs(Role.OPERATOR, body=NothingBody),
)
async def fire_schedule(request: Request, runs: Tenant, schedule_id: Id) -> Response:
    """Begin a run now, whatever is planned."""
    await body_of(request, NothingBody)
    run = await runs.schedules.fire(schedule_id)
    return answer(request, {"id": run.id, "status": str(await run.status())}, 202)
