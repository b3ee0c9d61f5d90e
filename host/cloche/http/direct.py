"""Reading a run, which is asked for more often than all else: answered without the framework's own work between.

Routing it and solving its parameters takes longer than the answer. Only the plain form is answered here; one with a query, or
for another tenant than the token's, goes the usual way, to the same function.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import Request

from cloche.errors import ClocheError
from cloche.http.principals import PRINCIPAL, SLASH, Role, Scope
from cloche.http.problems import problem_of
from cloche.http.runs import get_run
from cloche.http.service import check_role, tenant_of

if TYPE_CHECKING:
    from cloche.http.service import Service

_RUN = re.compile("/v1/runs/([^/]+)")


def run_asked(scope: Scope, path: str) -> str | None:
    """The id of the run that a request reads, and nothing more; None: it is another request."""
    if scope["method"] != "GET" or scope["query_string"]:
        return None
    found = _RUN.fullmatch(path)
    if found is None or any(name == b"cloche-tenant" for name, _ in scope["headers"]):
        return None
    return found[1].replace(SLASH, "/")


async def answer_run(service: Service, run_id: str, scope: Scope, receive: Any, send: Any) -> None:
    """What the endpoint of the run answers.

    Raises:
        Refused: as the endpoint.
    """
    check_role(scope[PRINCIPAL], Role.VIEWER)
    request = Request(scope, receive)
    try:
        response = await get_run(request, tenant_of(service.client, scope[PRINCIPAL], None), run_id)
    except ClocheError as error:
        response = problem_of(error)
    await response(scope, receive, send)
