"""Errors as RFC 9457 has them: `application/problem+json` with a type for programs, a text for people, and what to do."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import Response

from cloche import errors
from cloche.errors import ClocheError
from cloche.operations.forms import to_json

log = logging.getLogger("cloche")
PROBLEM = "application/problem+json"
RETRY_AFTER_S = 1

# The status of each error, the most special first.
_STATUS: Sequence[tuple[type[ClocheError], int]] = (
    (errors.NotFound, 404),
    (errors.RunConflict, 409),
    (errors.NotSuspended, 409),
    (errors.RunFailed, 409),
    (errors.QueueFull, 429),
    (errors.InvalidInput, 422),
    (errors.DeployRefused, 422),
    (errors.StartRefused, 422),
    (errors.ForeignFile, 422),
    (errors.MissingStep, 409),
    (errors.LimitExceeded, 422),
    (errors.UsageError, 400),
    (errors.LeasedElsewhere, 503),
    (errors.SeqConflict, 503),
    (errors.StoreError, 503),  # also one that only a new process gets over: whoever balances loads asks another server
)
_WHAT_TO_DO = {
    "not-found": "look at the id and the tenant; GET /v1/runs and GET /v1/workflows list what there is",
    "run-conflict": "choose another run id, or read the run that is there",
    "not-suspended": "read the run: 'why' says what it waits for",
    "run-failed": "read the run's result",
    "queue-full": "try again after Retry-After seconds",
    "inbox-full": "try again after Retry-After seconds",
    "invalid-input": "mend what 'problems' and 'detail' name, and send it again",
    "deploy-refused": "mend the code at the line that is named, and deploy it again",
    "start-refused": "the workflow refused this input: see 'detail'",
    "limit-exceeded": "send less, or ask for another policy",
    "not-granted": "ask for a policy that grants this",
    "store-unavailable": "try again after Retry-After seconds",
    "store-failed": "ask another server: this one has to be started anew",
    "usage": "see 'detail': the request cannot be meant as it is",
    "unauthenticated": "send 'Authorization: Bearer TOKEN'; 'cloche token create' makes one",
    "bad-signature": "sign it with the secret of the webhook that the token names, and send it within minutes",
    "no-token": "send a token of the store, made with 'cloche token create'",
    "forbidden": "use a token whose role and tenant allow this",
    "too-many-requests": "try again after Retry-After seconds",
    "too-many-streams": "close a stream of this principal first",
    "body-too-slow": "send the whole body at once",
    "body-too-large": "send less, or a reference to it",
    "unsupported-media-type": "send application/json, or application/cbor in its deterministic form",
    "not-acceptable": "accept one of the types that 'detail' lists",
    "cross-site": "send the request from a page of this server, or from no page",
    "unknown-host": "reach the server by the name of this machine, or start it with tokens",
    "method-not-allowed": "use one of the methods of the Allow header",
    "no-such-path": "see /openapi.json for the paths that there are",
    "not-open": "open the client in the lifespan of the outer app: 'async with client: yield'",
    "internal": "report it, with the id; the server's log has more under it",
}
_BY_STATUS = {404: "no-such-path", 405: "method-not-allowed"}


class Refused(Exception):
    """A request that is answered with a problem. `facts` are members of it beside those that each has."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.facts = status, code, detail, facts
        self.headers = dict(headers or {})

    def response(self) -> Response:
        return problem(self.status, self.code, self.detail, self.facts, self.headers)


def problem(
    status: int,
    code: str,
    detail: str,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer of a request that failed."""
    own = {"type": f"urn:cloche:error:{code}", "title": code.replace("-", " "), "status": status, "detail": detail}
    what_to_do = _WHAT_TO_DO.get(code, "see 'detail'")
    body = {
        **{name: value for name, value in (facts or {}).items() if name not in own},
        **own,
        "what_to_do": what_to_do,
    }
    more = dict(headers or {})
    if status in (429, 503):
        more.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(to_json(body).encode("utf-8", "replace"), status, more, PROBLEM)


def problem_of(error: ClocheError) -> Response:
    """Of an error that cloche raised on purpose. One that nobody who asks can act on is a fault of ours."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        return fault_of(error)
    facts = {name: value for name, value in error.facts.items() if name not in ("report", "error")}
    if isinstance(error, errors.StoreError):  # its words are about paths and servers of the operator's
        log.warning("the store did not serve a request: %s", error.message)
        return problem(status, error.code, "the store cannot be reached just now", {})
    return problem(status, error.code, error.message, facts)


def fault_of(error: Exception) -> Response:
    """A fault of ours: the client gets an id, under which the log has the rest."""
    id = secrets.token_hex(8)
    log.error("request failed, id %s", id, exc_info=error)
    return problem(500, "internal", "the server failed to answer this request", {"id": id})


def problem_of_status(status: int, detail: str, headers: Mapping[str, str] | None) -> Response:
    """Of what the framework itself refuses: an unknown path, a method that a path does not have."""
    return problem(status, _BY_STATUS.get(status, "usage"), detail, {}, headers)


def problem_of_parameters(found: Sequence[Mapping[str, Any]]) -> Response:
    """Of parameters that are not what the API says."""
    problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found[:20]]
    return problem(422, "invalid-input", "; ".join(problems), {"problems": problems})
