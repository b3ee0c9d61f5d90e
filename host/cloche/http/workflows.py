"""Endpoints about workflows and the code of tenants."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.client import Cloche
from cloche.client import Tenant as HostedTenant
from cloche.errors import BrokenChain, InvalidInput
from cloche.http.bodies import answer, body_of
from cloche.http.models import DeployBody, ForkBody, Started, VersionList, VersionOut, WorkflowList
from cloche.http.models_of_pages import CheckBody, CheckOut
from cloche.http.principals import Role
from cloche.http.runs import run_of
from cloche.http.service import Id, Tenant, found, judged, needs, principal_of, service_of
from cloche.operations.forms import instant, to_json

router = APIRouter()
executing = APIRouter()  # where the process that serves is a worker too


@router.get("/workflows", response_model=WorkflowList, **needs(Role.VIEWER))
async def list_workflows(request: Request, runs: Tenant) -> Response:
    """What can be started: what workers have registered, and what the tenant has deployed."""
    there = [
        {
            "id": one.id,
            "input_schema": one.input_schema,
            "is_registered": one.is_registered,
            "versions": list(one.versions),
        }
        for one in await runs.startable()
    ]
    return answer(request, {"workflows": there})


@router.get("/workflows/{workflow}/versions", response_model=VersionList, **needs(Role.VIEWER))
async def list_versions(request: Request, runs: Tenant, workflow: Id) -> Response:
    """What the tenant has deployed of a workflow, the last first."""
    return answer(
        request,
        {"versions": [_version(one) for one in await found(lambda: runs.versions(workflow), "workflow", workflow)]},
    )


def _version(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "workflow": one.workflow,
        "digest": one.digest,
        "deployed_at": instant(one.deployed_at),
    }


@executing.post(
    "/workflows/{workflow}/versions", status_code=201, response_model=VersionOut, **needs(Role.ADMIN, body=DeployBody)
)
async def deploy(request: Request, runs: Tenant, workflow: Id) -> Response:
    """Keep code of the tenant's: a graph, a source with its language, or files. The same content is the same version."""
    body = await body_of(request, DeployBody)
    if [body.graph, body.source, body.files].count(None) != 2:
        problems = ["body: one of graph, source, files"]
        raise InvalidInput("give a graph, a source, or files, and one of them", path="", problems=problems)
    if body.source is not None and body.language is None:
        raise InvalidInput("say which language the source is in", path="language", problems=["language: needed"])
    content = to_json(body.graph) if body.graph is not None else body.source
    deploying = _hosted(runs).deploy(
        content,
        workflow=workflow,
        language=body.language,
        files=body.contents(),
        main=body.main,
        by=principal_of(request).id,
    )
    return answer(request, _version(await judged(deploying, 422)), 201)


@executing.post("/workflows/{workflow}/check", response_model=CheckOut, **needs(Role.OPERATOR, body=CheckBody))
async def check_open_runs(request: Request, runs: Tenant, workflow: Id) -> Response:
    """Would open runs fit what the workflow starts with now, or a version? A page of them is tried; none is changed."""
    body = await body_of(request, CheckBody)
    page = await found(
        lambda: _hosted(runs).check_open(workflow, version=body.version, most=body.most, after=body.after),
        "workflow",
        workflow,
    )
    shown = [_checked(one) for one in page.fits]
    counts = {
        "checked": len(shown),
        "fits": sum(one["fits"] for one in shown),
        "parts": sum(not one["fits"] for one in shown),
        "current": sum(one["is_current"] for one in shown),
    }
    return answer(request, {"workflow": workflow, "digest": page.digest, **counts, "runs": shown, "next": page.next})


def _checked(one: Any) -> dict[str, Any]:
    parted = one.divergence
    return {
        "run_id": one.run_id,
        "status": str(one.status),
        "fits": one.ok,
        "is_current": one.is_same,
        "problem": one.problem if parted is None else str(parted),
        "seq": parted.seq if parted is not None else None,
    }


@executing.delete("/versions/{version}", status_code=204, response_model=None, **needs(Role.ADMIN))
async def withdraw(request: Request, runs: Tenant, version: Id) -> Response:
    """Forget a version: nothing starts with it any more; runs that began with it go on."""
    await _hosted(runs).withdraw(version, by=principal_of(request).id)
    return Response(None, 204)


@executing.post("/runs/{run_id}/fork", status_code=201, response_model=Started, **needs(Role.OPERATOR, body=ForkBody))
async def fork(request: Request, runs: Tenant, run_id: Id) -> Response:
    """A new run with the history of this one up to its last call of a step."""
    await run_of(runs, run_id)
    body = await body_of(request, ForkBody)
    given = {"input_data": body.input} if body.has_input else {}
    made = await judged(_hosted(runs).fork(run_id, at=body.at, new_run_id=body.run_id, **given), 409)
    return answer(request, {"id": made.id, "status": str(await made.status())}, 201)


@executing.post(
    "/runs/import",
    status_code=201,
    response_model=Started,
    **needs(Role.ADMIN, of_all_tenants=True, file="application/octet-stream"),
)
async def import_run(request: Request) -> Response:
    """Take in a run that was exported; the file says whose it is. If it is unfinished, this process goes on with it."""
    client = service_of(request).client
    assert isinstance(client, Cloche)
    try:
        made = await client.import_(await request.body(), by=principal_of(request).id)
    except BrokenChain as error:  # of the file: nothing of it was taken
        raise InvalidInput(error.message, path="", problems=[]) from None
    return answer(request, {"id": made.id, "status": str(await made.status())}, 201)


def _hosted(runs: Any) -> HostedTenant:
    assert isinstance(runs, HostedTenant)
    return runs
