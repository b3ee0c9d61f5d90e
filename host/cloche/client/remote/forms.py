"""What a server answers, as a client in the process of the store has it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from cloche.history import Failure, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.failures import Frame
from cloche.history.timing import AttemptTimes, Times
from cloche.operations.bulk import BulkReport
from cloche.operations.forms import instant_ms
from cloche.operations.limits import LimitState, PermitInfo, PermitWait
from cloche.operations.lineage import Lineage, Relative
from cloche.operations.moves import Action, Asked
from cloche.operations.shown_code import ShownCode
from cloche.operations.start_requests import NotBegun
from cloche.operations.timing import Line, Overdue, SlowStep, Spread, StepStory, TopReport
from cloche.operations.view import RunView
from cloche.operations.why import Why
from cloche.run.results import RunResult, StepResult
from cloche.status import RunStatus
from cloche.store import FailureGroup, RunRow
from cloche_codegen import Source


def row_of(data: Mapping[str, Any]) -> RunRow:
    """The entry of a run that has begun. Who owns it is the server's business: `owner` and `fence` are empty."""
    return RunRow(
        RunKey(TenantId(data["tenant"]), RunId(data["id"])),
        data["workflow"],
        data["code"],
        RunStatus(data["status"]),
        _time(data["wake_at"]),
        _time(data["created_at"]) or TimeMs(0),
        _time(data["updated_at"]) or TimeMs(0),
        Seq(data["records"]),
        bytes.fromhex(data["head_hash"]),
        json.dumps(data["blocked"]) if data["blocked"] is not None else None,
    )


def not_begun_of(data: Mapping[str, Any]) -> NotBegun:
    key = RunKey(TenantId(data["tenant"]), RunId(data["id"]))
    return NotBegun(key, data["workflow"], TimeMs(_time(data["since"]) or 0), data["sentence"], data["tags"])


def failure_of(data: Mapping[str, Any]) -> FailureGroup:
    tenant = TenantId(data["tenant"])
    return FailureGroup(
        tenant,
        data["workflow"],
        data["error"],
        data["step"],
        data["count"],
        first=TimeMs(_time(data["first"]) or 0),
        last=TimeMs(_time(data["last"]) or 0),
        example=RunKey(tenant, RunId(data["example"])),
    )


def why_of(data: dict[str, Any]) -> Why:
    asked = [Asked(**one) for one in data.pop("asked")]
    known = {name: value for name, value in data.items() if name in Why.__dataclass_fields__}  # a newer server has more
    limit = PermitWait(**known.pop("limit")) if known.get("limit") else None
    actions = [Action(**one) for one in data["actions"]]
    return Why(**{**known, "asked": asked, "limit": limit, "actions": actions})


def limit_of(data: dict[str, Any]) -> LimitState:
    calls = {name: [PermitInfo(**one) for one in data[name]] for name in ("holders", "waiting")}
    return LimitState(**{**data, **calls})


def top_of(data: dict[str, Any]) -> TopReport:
    spreads = ("work", "queue", "retry_wait", "suspended")
    steps = [SlowStep(**{**one, **{name: Spread(**one[name]) for name in spreads}}) for one in data["steps"]]
    return TopReport(data["runs"], data["is_whole"], steps, [Overdue(**one) for one in data["overdue"]])


def report_of(data: dict[str, Any]) -> BulkReport:
    failed = [(one["run_id"], one["message"]) for one in data["failed"]]
    return BulkReport(**{**data, "failed": failed})


def lineage_of(data: dict[str, Any]) -> Lineage:
    one = {name: data[name] for name in ("parent", "retry_of", "forked_from", "continues", "continued_as")}
    several = {name: [Relative(**each) for each in data[name]] for name in ("retried_as", "children")}
    of_each = {name: Relative(**found) if found is not None else None for name, found in one.items()}
    return Lineage(**{**data, **of_each, **several})


def code_of(data: Mapping[str, Any]) -> ShownCode:
    sources = {}
    for one in data["sources"]:
        lines = {line["line"]: line["node"] for line in one["map"]}
        sources[one["language"]] = Source(one["code"], lines, one["digest"])
    graph = json.dumps(data["graph"]) if data["graph"] is not None else ""
    return ShownCode(data["workflow"], data["digest"], data["guest"], data["is_deployed"], graph, sources)


def story_of(data: dict[str, Any]) -> StepStory:
    times = Times(**{name: data[name] for name in Times.__dataclass_fields__})
    attempts, lines = [AttemptTimes(**one) for one in data["attempts"]], [Line(**one) for one in data["lines"]]
    step, calls, made = data["step"], data["calls"], data["attempts_made"]
    return StepStory(step, calls, made, times, deque(attempts), deque(lines), data["dropped"])


def view_of(data: dict[str, Any]) -> RunView:
    more = {name: data.pop(name) for name in ("records", "why", "on_their_way")}
    return RunView(result_of(data), **more)


def result_of(data: dict[str, Any]) -> RunResult:
    steps = {name: _step(one) for name, one in data.pop("steps").items()}
    error, status = _failure(data.pop("error")), RunStatus(data.pop("status"))
    return RunResult(**data, status=status, error=error, steps=steps)


def _step(data: dict[str, Any]) -> StepResult:
    status, error = RunStatus(data.pop("status")), _failure(data.pop("error"))
    return StepResult(status, error=error, **data)


def _failure(data: dict[str, Any] | None) -> Failure | None:
    if data is None:
        return None
    members = tuple(one for member in data.pop("members", ()) if (one := _failure(member)) is not None)
    texts: dict[str, Any] = {name: tuple(data.pop(name, ())) for name in ("bases", "notes")}
    texts["trace"] = tuple(Frame(*one) for one in data.pop("trace", ()))
    return Failure(**{**data, "cause": _failure(data["cause"]), "members": members, **texts})


def _time(text: str | None) -> TimeMs | None:
    return TimeMs(instant_ms(text)) if text is not None else None
