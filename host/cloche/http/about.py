"""Endpoints about the server: who asks, what was used, who executes, and whether all is well."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.errors import ClocheError
from cloche.http import shown
from cloche.http.bodies import answer
from cloche.http.models import Health, PrincipalOut, UsageList, WorkerList
from cloche.http.principals import Role
from cloche.http.service import Tenant, needs, principal_of, service_of
from cloche.operations.workers import worker_infos

router = APIRouter()
health = APIRouter()


@router.get("/me", response_model=PrincipalOut, **needs(Role.VIEWER))
async def get_me(request: Request) -> Response:
    """Who asks."""
    return answer(request, shown.principal_out(principal_of(request), service_of(request).client.tenant_id))


@router.get("/usage", response_model=UsageList, **needs(Role.VIEWER))
async def list_usage(request: Request, runs: Tenant) -> Response:
    """What the tenant has used; for a token of all tenants that names none, what each has."""
    is_of_all = principal_of(request).tenant is None and "cloche-tenant" not in request.headers
    found = await service_of(request).client.usage(None if is_of_all else runs.tenant_id)
    tenants = [{"tenant": one.tenant, "runs": one.runs, "usage": asdict(one.usage)} for one in found]
    return answer(request, {"tenants": tenants})


@router.get("/workers", response_model=WorkerList, **needs(Role.VIEWER, of_all_tenants=True))
async def list_workers(request: Request) -> Response:
    """The workers that execute the runs of the store."""
    infos = await worker_infos(service_of(request).client.connection.store)
    alive = [one.id for one in infos if not one.is_dead]
    return answer(request, {"workers": alive, "details": [one.to_data() for one in infos]})


@health.get(
    "/metrics",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    **needs(Role.VIEWER, of_all_tenants=True),
)
async def get_metrics(request: Request) -> Response:
    """What Prometheus reads: counts and times of runs and steps in this process, and how many runs stand where."""
    from cloche.telemetry.metrics import CONTENT_TYPE, Metrics

    service = service_of(request)
    if service.metrics is None:  # of a process without a worker
        service.metrics = Metrics()
    connection = service.client.connection
    counts = await connection.store.count_open()
    data = service.metrics.exposition({str(one): count for one, count in counts.items()}, connection.guest_memory_bytes)
    return Response(data, media_type=CONTENT_TYPE)


@health.get("/healthz", response_model=Health)
async def get_health(request: Request) -> Response:
    """Whether the process answers."""
    return answer(request, {"is_ok": True})


@health.get(
    "/readyz", response_model=Health, responses={503: {"model": Health, "description": "Send nothing here now."}}
)
async def get_readiness(request: Request) -> Response:
    """Whether requests can be served: the store answers, and the server does not drain."""
    service = service_of(request)
    try:
        await service.client.workers()
        is_ok = not service.draining.is_set()
    except ClocheError:
        is_ok = False
    return answer(request, {"is_ok": is_ok}, 200 if is_ok else 503)
