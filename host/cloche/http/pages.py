"""Endpoints for what stands beside a run on a page: its relatives, the code of workflows, what a schedule does next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.client import Cloche
from cloche.http.bodies import answer
from cloche.http.models_of_pages import CodeOut, LineageOut, UpcomingOut
from cloche.http.models_of_run_pages import ShapeOut
from cloche.http.principals import Role
from cloche.http.runs import After, Limit, run_of
from cloche.http.service import Id, Tenant, found, needs, service_of
from cloche.operations.forms import instant
from cloche.operations.shapes import shape_of_shown

if TYPE_CHECKING:
    from cloche.client import TenantRuns
    from cloche.operations.shown_code import ShownCode

router = APIRouter()
Version = Annotated[str | None, Query(max_length=200, description="A version that is deployed.")]


@router.get("/runs/{run_id}/lineage", response_model=LineageOut, **needs(Role.VIEWER))
async def get_lineage(request: Request, runs: Tenant, run_id: Id, after: After = 0, limit: Limit = 100) -> Response:
    """Where the run comes from and what came of it: parent, retries, forks, histories, and its children, page by page."""
    await run_of(runs, run_id)
    lineage = await runs.lineage(run_id, after=after, limit=limit)
    return answer(request, lineage.to_data())


@router.get("/runs/{run_id}/code", response_model=CodeOut, **needs(Role.VIEWER))
async def get_run_code(request: Request, runs: Tenant, run_id: Id) -> Response:
    """The code that the run is pinned to: its graph, and its source in each language that it has."""
    await run_of(runs, run_id)
    shown = await runs.code_of_run(run_id)
    return answer(request, shown.to_data(), etag=shown.digest)


@router.get("/workflows/{workflow}/code", response_model=CodeOut, **needs(Role.VIEWER))
async def get_workflow_code(request: Request, runs: Tenant, workflow: Id, version: Version = None) -> Response:
    """What a workflow would start with: its graph, and its source in each language that it has.

    Of one that is registered with workers elsewhere it is what its newest run has.
    """
    return answer(request, (await _code_of(request, runs, workflow, version)).to_data())


@router.get("/workflows/{workflow}/shape", response_model=ShapeOut, **needs(Role.VIEWER))
async def get_workflow_shape(request: Request, runs: Tenant, workflow: Id, version: Version = None) -> Response:
    """What can be read of the code that a workflow would start with, as of a run's: its graph before any run."""
    shown = await _code_of(request, runs, workflow, version)
    return answer(request, await shape_of_shown(runs.connection.store, shown))


async def _code_of(request: Request, runs: TenantRuns, workflow: str, version: str | None) -> ShownCode:
    client = service_of(request).client
    known = {one.id: one for one in client.workflows} if isinstance(client, Cloche) else {}
    shown: ShownCode = await found(
        lambda: runs.code_of_workflow(version or workflow, None if version else known.get(workflow)),
        "workflow",
        workflow,
    )
    return shown


@router.get("/schedules/{schedule_id}/upcoming", response_model=UpcomingOut, **needs(Role.VIEWER))
async def list_upcoming(
    request: Request, runs: Tenant, schedule_id: Id, count: Annotated[int, Query(ge=1, le=100)] = 10
) -> Response:
    """The next instants of a schedule, as it stands."""
    instants = await runs.schedules.upcoming(schedule_id, count)
    return answer(request, {"instants": [instant(one) for one in instants]})
