"""What pages show beside a run: its relatives, its code, its workers; and what a version would do to open runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cloche.http.models import Given, RunId, Shown
from cloche.http.scalars import Whole


class RelativeOut(Shown):
    """A run that has to do with another one. `status` null: it has not begun, or was deleted. `path`: of a child, its call."""

    run_id: RunId
    workflow: str | None
    status: str | None
    path: str | None
    seq: int | None


class LineageOut(Shown):
    """Where a run comes from and what came of it. `next`: the record after which the next page of children begins."""

    run_id: RunId
    parent: RelativeOut | None
    retry_of: RelativeOut | None
    retried_as: list[RelativeOut]
    forked_from: RelativeOut | None
    forked_at: str | None
    continues: RelativeOut | None
    continued_as: RelativeOut | None
    schedule: str | None
    children: list[RelativeOut]
    next: int | None


class LineOfNode(Shown):
    """A line of source, from 1, and the node of the graph that it is made from (`workflow/node` of a nested workflow)."""

    line: int
    node: str


class SourceOut(Shown):
    """The source that a run is pinned to."""

    language: str
    code: str
    map: list[LineOfNode]
    guest: str


class SourceIn(Shown):
    """Source in one language; `digest` is BLAKE2b-256 of the code, in hex."""

    language: str
    code: str
    digest: str
    map: list[LineOfNode]


class CodeOut(Shown):
    """Code: its graph, and its sources, the one that is executed first. `digest` null: no run has it yet."""

    workflow: str
    digest: str | None
    guest: str | None
    is_deployed: bool
    input_schema: dict[str, Any] | None
    graph: dict[str, Any] | None
    sources: list[SourceIn]


class GraphOut(Shown):
    """A graph, as `cloche graph --format json` prints it: these and more members."""

    id: str
    nodes: list[dict[str, Any]] = Field(default_factory=list)


class UpcomingOut(Shown):
    """The next instants of a schedule, as RFC 3339; none where it is paused or over."""

    instants: list[str]


class CheckBody(Given):
    """Which of the open runs are tried, and how many at most; `after` is `next` of the answer before."""

    version: str | None = Field(
        None, max_length=200, description="A version that is deployed; without: what starts now."
    )
    most: Whole = Field(20, ge=1, le=100)
    after: str | None = Field(None, pattern="^[0-9]{1,18}$")


class CheckedRun(Shown):
    """`fits`: its whole history leads the code to where it stands. Else `problem` says where it parts, `seq` which record."""

    run_id: RunId
    status: str
    fits: bool
    is_current: bool
    problem: str | None
    seq: int | None


class CheckOut(Shown):
    """`current` runs have the code already; `next`: where the rest begins, null: there is none."""

    workflow: str
    digest: str
    checked: int
    fits: int
    parts: int
    current: int
    runs: list[CheckedRun]
    next: str | None
