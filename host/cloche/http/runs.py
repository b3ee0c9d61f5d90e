"""Endpoints that read runs, and those that delete and carry them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.client import Run, RunRow, TenantRuns
from cloche.errors import NotFound, UsageError
from cloche.http import shown
from cloche.http.bodies import CBOR, CBOR_SEQUENCE, JSON, accepted, answer, is_known, part_of, wait_s
from cloche.http.models import (
    RecordOut,
    RecordPage,
    RunWhole,
    UsageOut,
    ViewOut,
    WhyOut,
)
from cloche.http.models_of_many import FailureList, NotBegunOut, RunPage, TimingOut, TopOut
from cloche.http.models_of_pages import GraphOut, SourceOut
from cloche.http.principals import Role
from cloche.http.problems import Refused
from cloche.http.scalars import Instant
from cloche.http.service import Id, Tenant, found, needs, principal_of, service_of
from cloche.http.shown import Bodies, body_data, record_out
from cloche.http.waiting import is_at_rest, view_at_rest
from cloche.operations import names
from cloche.operations.forms import stored, to_json
from cloche.operations.start_requests import NotBegun
from cloche.operations.timing import TOP_RUNS_MAX
from cloche.operations.typescript import authored, language_of
from cloche.operations.view import RunView, row_there, view_at
from cloche.status import RunStatus

router = APIRouter()
Moved = Annotated[Instant | None, Query(description="When the last record was written, as RFC 3339.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[int, Query(ge=0, le=2**53, description="The number of the record that the page follows.")]
# What a page of another type has in it, for the document.
BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.get("/runs", response_model=RunPage, **needs(Role.VIEWER))
async def list_runs(
    request: Request,
    runs: Tenant,
    status: Annotated[list[RunStatus] | None, Query(max_length=20, description="Any of these.")] = None,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    version: Annotated[str | None, Query(max_length=200)] = None,
    since: Moved = None,
    until: Moved = None,
    age: Annotated[
        float | None, Query(ge=0, le=1e10, description="Has stood as it stands for so many seconds.")
    ] = None,
    error: Annotated[str | None, Query(max_length=200, description="Failed with an error of this name.")] = None,
    step: Annotated[str | None, Query(max_length=200, description="Failed at this step.")] = None,
    tag: Annotated[
        list[Annotated[str, Query(pattern="^[^=]{1,200}=.{1,200}$", json_schema_extra={"pattern": names.TAG})]] | None,
        Query(max_length=32, description="NAME=VALUE; each of them."),
    ] = None,
    text: Annotated[str | None, Query(max_length=200, description="In input, result or error.")] = None,
    limit: Limit = 100,
    cursor: Annotated[
        str | None, Query(pattern="^(?:[.][0-9]{1,18}|[A-Za-z0-9_-]*)$", description="`next` of the page before.")
    ] = None,
) -> Response:
    """Runs, newest first; with the first page, in `not_begun`, those that no worker has begun.

    What moves between two pages is neither skipped nor seen twice.
    """
    if cursor is None or cursor.startswith("."):
        query: dict[str, Any] = {"version": version, "since": since, "until": until, "error": error, "step": step}
        query |= {"age": age, "status": status, "workflow": workflow, "tags": _tags(tag)}
        place = cursor.removeprefix(".") if cursor is not None else None
        found = await runs.find(text=text, limit=limit, cursor=place, **query)
        early = await runs.not_begun(text=text, limit=limit, **query) if cursor is None else ()
        return _page(request, found, f".{found.next}" if found.next is not None else None, early)
    rows = []  # a cursor of an older release: the id of a run
    if cursor is None or (after := _run_after(cursor)):
        rows = list(
            await runs.list(
                status=status[0] if status else None,
                workflow=workflow,
                limit=limit + 1,
                after=after if cursor is not None else None,
            )
        )
    return _page(request, rows[:limit], _cursor(rows[limit - 1].key.run) if len(rows) > limit else None)


def _page(request: Request, rows: Sequence[RunRow], more: str | None, early: Sequence[NotBegun] = ()) -> Response:
    waiting = [NotBegunOut.model_construct(**one.to_data()) for one in early]
    page = RunPage.model_construct(runs=[shown.run_out(row) for row in rows], next=more, not_begun=waiting)
    headers = {}
    if more is not None:
        url = request.url.include_query_params(cursor=more)
        headers["Link"] = f'<?{url.query}>; rel="next"'
    return answer(request, page.model_dump(mode="json"), headers=headers)


def _tags(given: list[str] | None) -> dict[str, str]:
    pairs = [one.partition("=") for one in given or ()]
    return {name: value for name, _, value in pairs}


def _cursor(run_id: str) -> str:
    return base64.urlsafe_b64encode(run_id.encode()).decode().rstrip("=")


def _run_after(cursor: str) -> str | None:
    """None: no page has given this cursor."""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


async def run_of(runs: TenantRuns, id: str) -> Run:
    """
    Raises:
        NotFound: there is none.
    """
    run: Run = await found(lambda: runs.get(id), "run", id)
    return run


@router.get("/runs/{run_id}", response_model=RunWhole, **needs(Role.VIEWER))
async def get_run(request: Request, runs: Tenant, run_id: Id) -> Response:
    """A run: where it stands, and why it does not move."""
    row = await found(lambda: row_there(runs.connection.store, run_id, runs.tenant_id), "run", run_id)
    if row is None:
        await run_of(runs, run_id)
        pending = shown.pending(runs.tenant_id, await runs.view(run_id))
        return answer(request, pending.model_dump(mode="json"))
    etag = f'"{shown.tag(row)}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cloche-Tenant"}
    accepted(request, JSON)
    if is_known(request, etag):
        return Response(None, 304, headers)
    return Response(shown.run_whole(row).model_dump_json(), 200, headers, JSON)


@router.get("/runs/{run_id}/why", response_model=WhyOut, **needs(Role.VIEWER))
async def get_why(request: Request, runs: Tenant, run_id: Id) -> Response:
    """Why the run does not move, as data, with what moves it."""
    reason = await found(lambda: runs.why(run_id), "run", run_id)
    return answer(request, reason.to_data())


@router.get("/failures", response_model=FailureList, **needs(Role.VIEWER))
async def list_failures(
    request: Request,
    runs: Tenant,
    since: Moved = None,
    until: Moved = None,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    by_workflow: bool = False,
    limit: Limit = 100,
) -> Response:
    """What failed and was not retried, by error and step, the largest group first."""
    group_by = ("error", "step", "workflow") if by_workflow else ("error", "step")
    groups = await runs.failures(since=since, until=until, workflow=workflow, group_by=group_by, limit=limit)
    return answer(request, {"failures": [shown.failure_out(one) for one in groups]})


@router.get("/top", response_model=TopOut, **needs(Role.VIEWER))
async def get_top(
    request: Request,
    runs: Tenant,
    since: Moved = None,
    until: Moved = None,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    runs_max: Annotated[int, Query(ge=1, le=TOP_RUNS_MAX, description="How many runs are read at most.")] = 500,
) -> Response:
    """What is slow, by workflow and step, of the runs that moved last; and steps that work far longer than they usually do."""
    report = await runs.top(since=since, until=until, workflow=workflow, runs_max=runs_max)
    return answer(request, report.to_data())


@router.get("/runs/{run_id}/timing", response_model=TimingOut, **needs(Role.VIEWER))
async def get_timing(request: Request, runs: Tenant, run_id: Id) -> Response:
    """Where the time of the run went, by step: its attempts, and what it printed and logged."""
    steps = await found(lambda: runs.timing(run_id), "run", run_id)
    return answer(request, {"steps": [one.to_data() for one in steps]})


@router.get("/runs/{run_id}/state", response_model=ViewOut, **needs(Role.VIEWER))
async def get_state(
    request: Request,
    runs: Tenant,
    run_id: Id,
    seq: Annotated[int, Query(ge=1, le=2**53, description="The number of a record; without, of the last.")] = 2**53,
) -> Response:
    """The run as it stood with a record: what its history up to there says."""
    await run_of(runs, run_id)
    view = await view_at(runs.connection.store, run_id, runs.tenant_id, seq)
    return answer(request, shown.view_data(view, principal_of(request)))


@router.get(
    "/runs/{run_id}/result",
    response_model=ViewOut,
    responses={202: {"model": ViewOut, "description": "The run goes on."}},
    **needs(Role.VIEWER),
)
async def get_result(request: Request, runs: Tenant, run_id: Id) -> Response:
    """The run as it stands: result or error, steps, state. `Prefer: wait=SECONDS` waits for it to come to rest."""
    view: RunView = await found(lambda: runs.view(run_id), "run", run_id)  # or what its start was refused with
    if not is_at_rest(view) and (seconds := wait_s(request)):
        view = await view_at_rest(service_of(request), runs, await runs.get(run_id), seconds)
    return answer(request, shown.view_data(view, principal_of(request)), 200 if is_at_rest(view) else 202)


@router.get("/runs/{run_id}/usage", response_model=UsageOut, **needs(Role.VIEWER))
async def get_usage(request: Request, runs: Tenant, run_id: Id) -> Response:
    """What the run has used."""
    await run_of(runs, run_id)
    used = await runs.usage(run_id)
    return answer(request, shown.usage_out(used).model_dump(mode="json"))


@router.get(
    "/runs/{run_id}/log",
    response_model=RecordPage,
    responses={200: {"content": {CBOR_SEQUENCE: BINARY}}},
    **needs(Role.VIEWER),
)
async def get_log(
    request: Request, runs: Tenant, run_id: Id, after: After = 0, limit: Limit = 100, bodies: Bodies = "head"
) -> Response:
    """A page of records. As `application/cbor-seq` each is `[record, hash]`, as it is stored: the chain can be verified."""
    kind = accepted(request, JSON, CBOR_SEQUENCE)
    run = await run_of(runs, run_id)
    records = await run.records(after, limit)
    if kind == CBOR_SEQUENCE:
        return Response(b"".join(map(stored, records)), 200, {"Vary": "Accept"}, CBOR_SEQUENCE)
    tagged = bodies != "none" and await run.are_tagged(records)
    page = {
        "records": [record_out(record, bodies, principal_of(request), tagged=tagged) for record in records],
        "next": records[-1].seq if len(records) == limit else None,
    }
    return answer(request, page)


@router.get(
    "/runs/{run_id}/records/{seq}",
    response_model=RecordOut,
    **needs(Role.VIEWER),
)
async def get_record(request: Request, runs: Tenant, run_id: Id, seq: int) -> Response:
    """One record with its body."""
    record, tagged = await _record(runs, run_id, seq)
    out = record_out(record, "full", principal_of(request), tagged=tagged)
    return answer(request, out, etag=record.hash.hex())


@router.get(
    "/runs/{run_id}/records/{seq}/body",
    response_model=None,
    responses={
        200: {"content": {CBOR: BINARY, JSON: {"schema": {}}}},
        206: {"content": {CBOR: BINARY, JSON: {"schema": {}}}, "description": "A range of it."},
        416: {"description": "There is no such range."},
    },
    **needs(Role.VIEWER),
)
async def get_body(request: Request, runs: Tenant, run_id: Id, seq: int) -> Response:
    """The body of a record: its exact bytes, or as JSON. `Range` gives a part of either."""
    kind = accepted(request, CBOR, JSON)
    record, tagged = await _record(runs, run_id, seq)
    told = None if kind == CBOR else to_json(body_data(record, principal_of(request), tagged=tagged))
    data = record.body if told is None else told.encode("utf-8", "replace")
    return part_of(request, data, kind, f"{record.hash.hex()}-{'c' if kind == CBOR else 'j'}")


async def _record(runs: TenantRuns, run_id: str, seq: int) -> tuple[Any, bool]:
    """A record, and whether its values are as JavaScript has them."""
    run = await run_of(runs, run_id)
    page = await run.records(seq - 1, 1) if 0 < seq < 2**53 else []
    if not page:
        raise NotFound(f"run {run_id!r} has no record {seq}", kind="record", id=str(seq))
    return page[0], await run.are_tagged(page)


@router.get(
    "/runs/{run_id}/graph",
    response_model=GraphOut,
    **needs(Role.VIEWER),
)
async def get_graph(request: Request, runs: Tenant, run_id: Id) -> Response:
    """The graph of the code that the run is pinned to."""
    code = await _code(runs, run_id)
    if not code.graph:
        raise NotFound(f"the code of run {run_id!r} has no graph", kind="graph", id=run_id)
    return answer(request, json.loads(code.graph))


@router.get(
    "/runs/{run_id}/source",
    response_model=SourceOut,
    **needs(Role.VIEWER),
)
async def get_source(request: Request, runs: Tenant, run_id: Id) -> Response:
    """The source that the run is pinned to, with the node of each line.

    `files` are what it was compiled of, as their author wrote them, by path; then `language` is theirs.
    """
    code = await _code(runs, run_id)
    lines = [{"line": line, "node": node} for line, node in sorted(code.lines.items())]
    told = {"language": code.language, "code": code.source, "map": lines, "guest": code.guest}
    files = await asyncio.to_thread(authored, code.source)
    return answer(request, {**told, "language": language_of(files), "files": files} if files else told)


async def _code(runs: TenantRuns, run_id: str) -> Any:
    run = await run_of(runs, run_id)
    return await run.code()


@router.get(
    "/runs/{run_id}/export",
    response_model=None,
    responses={200: {"content": {"application/octet-stream": BINARY}}},
    **needs(Role.VIEWER),
)
async def export_run(runs: Tenant, run_id: Id) -> Response:
    """The run as one file that verifies on another machine."""
    await run_of(runs, run_id)
    data = await runs.export(run_id)
    name = quote(run_id, safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}.cloche"}
    return Response(data, 200, headers, "application/octet-stream")


@router.delete("/runs/{run_id}", status_code=204, response_model=None, **needs(Role.ADMIN))
async def delete_run(request: Request, runs: Tenant, run_id: Id) -> Response:
    """Delete a run that has ended; a tombstone keeps its id."""
    await run_of(runs, run_id)
    try:
        await runs.delete(run_id, by=principal_of(request).id)
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise Refused(409, "usage", error.message) from error
    return Response(None, 204)
