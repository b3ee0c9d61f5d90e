"""The endpoint for limits that hold for all workers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.http.bodies import answer
from cloche.http.models import RunId, Shown
from cloche.http.principals import Role
from cloche.http.service import Tenant, needs

router = APIRouter()


class PermitOut(Shown):
    """A call that has a permit, or waits for one; without a step it is the run itself."""

    tenant: str
    run_id: RunId
    step: str
    since: int
    waits_for: str | None


class LimitOut(Shown):
    """A limit as it stands. Times in ms since 1970."""

    name: str
    kind: str
    key: str
    tenant: str
    most: int | None
    per_s: float | None
    used: int
    free_at: int | None
    holders: list[PermitOut]
    waiting: list[PermitOut]
    others: int


class LimitList(Shown):
    limits: list[LimitOut]


@router.get("/limits", response_model=LimitList, **needs(Role.VIEWER))
async def list_limits(
    request: Request, runs: Tenant, name: Annotated[str | None, Query(max_length=100)] = None
) -> Response:
    """The limits that somebody uses in which the tenant has a part, and its calls: who has permits, and who waits."""
    return answer(request, {"limits": [one.to_data() for one in await runs.limits(name)]})
