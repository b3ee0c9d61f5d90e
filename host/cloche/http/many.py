"""The same done to many runs: a page of them with each request."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloche.http.bodies import answer, body_of
from cloche.http.models_of_many import BulkBody, BulkOut
from cloche.http.principals import Role
from cloche.http.problems import Refused
from cloche.http.service import Tenant, judged, needs, principal_of

router = APIRouter()
_OF_ADMINS = ("delete", "upgrade")


@router.post("/bulk", response_model=BulkOut, **needs(Role.OPERATOR, body=BulkBody))
async def do_to_many(request: Request, runs: Tenant) -> Response:
    """Cancel, retry, resume, upgrade, delete, or send an event to, all runs that are meant; the audit log has it.

    With `dry_run` they are counted, all of them. Else one request does it to a page; ask again with its `next` as `after` for
    the rest. A run that it fails on is listed, and the others go on. To delete and to upgrade is for admins.
    """
    body = await body_of(request, BulkBody)
    principal = principal_of(request)
    if body.action in _OF_ADMINS and principal.role < Role.ADMIN and not body.dry_run:
        raise Refused(403, "forbidden", f"to {body.action} runs is for admins")
    options: dict[str, Any] = {
        name: getattr(body, name) for name in ("text", "data", "event", "step", "onto", "even_at_most_once")
    }
    where: Any = body.where.model_dump(exclude_none=True)
    place: dict[str, Any] = {"bulk_id": body.bulk_id, "after": body.after, "most": body.most}
    more = {} if body.dry_run else place
    doing = runs.bulk(body.action, dry_run=body.dry_run, by=principal.id, where=where, **options, **more)
    report = await (judged(doing, 409) if body.action == "upgrade" else doing)
    return answer(request, report.to_data())
