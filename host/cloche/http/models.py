"""The forms of the API. Answers whose values are a workflow's own are described here, and written by `operations.forms`."""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cloche.http.rules import BASE64, DEADLINE, DEPLOYED, LABEL, PAYLOAD_OR_ERROR, RETRIED, SECONDS_MAX, SECONDS_MIN
from cloche.http.scalars import NewRunId, Tags, Whole
from cloche.status import RunStatus

RunId = str


class Given(BaseModel):
    """What a request carries: nothing that is not known is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """What an answer holds. Later versions may add members."""

    model_config = ConfigDict(frozen=True)


class StartBody(Given):
    """A run that is to begin."""

    input: Any = Field(None, description="What the workflow is given.")
    run_id: NewRunId | None = Field(None, description="The same id again with the same input is the same run.")
    initial_state: dict[str, Any] | None = None
    request_context: dict[str, Any] | None = None
    per_step: bool = Field(False, strict=True, description="Run one entry of the graph, and pause.")
    tags: Tags | None = Field(None, description="Names and values by which the run is found.")
    deadline: Annotated[float, Field(strict=True, ge=SECONDS_MIN, le=SECONDS_MAX)] | str | None = Field(
        None,
        json_schema_extra={"anyOf": DEADLINE},
        description="By when it must have ended: seconds from now, `8 hours`, or an RFC 3339 instant.",
    )


class ResumeBody(Given):
    """Data for a suspended step; without `step` and `label` the only one is meant. `data` may be left out where the step's
    schema asks for nothing."""

    data: Any = None
    step: str | None = Field(None, max_length=2_000)
    label: str | None = Field(None, max_length=2_000)
    foreach_index: Whole | None = Field(None, ge=0, le=2**53)


class FailureBody(Given):
    """What a wait fails with."""

    name: str
    message: str
    data: Any = None


class EventBody(Given):
    """An event for a run that waits for it, or will; or what the wait fails with in its place."""

    model_config = ConfigDict(json_schema_extra=PAYLOAD_OR_ERROR)

    payload: Any = None
    error: FailureBody | None = None
    heartbeat: bool = Field(False, strict=True, description="Nothing but that whoever is to send it is still at it.")


class HookTaken(Shown):
    """The run that waits with the hook."""

    id: str


class RetryBody(Given):
    """How a run that failed goes on in a new one: under other code all of it, or from a step."""

    model_config = ConfigDict(json_schema_extra=RETRIED)

    onto: str | None = Field(None, description="The workflow, or version, under whose code it goes on.")
    from_step: str | None = None
    even_at_most_once: bool = Field(False, strict=True)
    even_after_clean_up: bool = Field(False, strict=True)


class NothingBody(Given):
    """Nothing: `{}`, or no body."""


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("must be text in base64")
    return b64decode(text, validate=True)


class BytesBody(Given):
    """A file that is no text."""

    base64: Annotated[bytes, BeforeValidator(_decoded), BASE64]


class DeployBody(Given):
    """Code: a graph, or with `language` a source, or the files of a workflow in Python or TypeScript."""

    model_config = ConfigDict(json_schema_extra=DEPLOYED)

    graph: dict[str, Any] | None = None
    source: str | None = None
    language: Literal["javascript", "python", "typescript"] | None = None
    files: dict[str, str | BytesBody] | None = Field(
        None, description="By their paths: modules, data beside them, pure-Python wheels."
    )
    main: str = Field("main.py", description="Which of the files has the workflow.")

    def contents(self) -> dict[str, str | bytes] | None:
        """The files, as they are deployed."""
        if self.files is None:
            return None
        return {path: one if isinstance(one, str) else one.base64 for path, one in self.files.items()}


class ForkBody(Given):
    """Where a run is to be taken up again, and with which input for that step."""

    at: str
    input: Any = None
    has_input: bool = Field(False, strict=True, description="Whether `input` replaces the step's own.")
    run_id: NewRunId | None = None


class Problem(BaseModel):
    """RFC 9457. Further members are facts of the error."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    what_to_do: str


class Blocked(Shown):
    reason: str
    message: str
    what_to_do: str


class Action(Shown):
    """What moves the run: a request that may be sent now. `href` is relative to that of the run."""

    name: str
    method: str
    href: str


class Why(Shown):
    """Why a run does not move. Times as RFC 3339."""

    kind: RunStatus
    since: str | None
    until: str | None
    sentence: str
    actions: list[Action]


class RunOut(Shown):
    """A run's entry in listings. `records` is 0, and times are null, while no worker has begun it. Times as RFC 3339."""

    id: RunId
    shown_id: str = Field(
        description="As people read it (`order-17 › 3`); where an id is asked for, it may be given so."
    )
    tenant: str
    workflow: str
    status: RunStatus
    records: int
    head_hash: str | None
    code: str | None
    created_at: str | None
    updated_at: str | None
    wake_at: str | None
    blocked: Blocked | None
    is_owned: bool


class RunWhole(RunOut):
    why: Why


class StepOut(Shown):
    status: RunStatus
    payload: Any = None
    output: Any = None
    error: Any = None
    started_at: Any = None
    ended_at: Any = None
    suspend_payload: Any = None
    resume_payload: Any = None
    attempts: int = 0
    metadata: dict[str, Any] = {}


class ResultOut(Shown):
    """A run as it stands."""

    run_id: RunId
    workflow_id: str
    status: RunStatus
    input: Any = None
    result: Any = None
    error: Any = None
    blocked: dict[str, str] | None = None
    steps: dict[str, StepOut] = {}
    state: dict[str, Any] = {}
    suspended: list[list[str]] = []
    suspend_payload: dict[str, Any] = {}
    resume_labels: dict[str, Any] = {}
    step_execution_path: list[str] = []


class ViewOut(ResultOut):
    """And why it does not move."""

    records: int
    why: str
    on_their_way: list[str] = []


class ActionOut(Shown):
    """What moves a run: for a button, a shell, a program, and as a request relative to that of the run."""

    name: str
    description: str
    command: str
    call: str
    method: str
    href: str


class AskedOut(Shown):
    step: str
    payload: Any = None
    labels: list[str] = []
    event: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")


class PermitWaitOut(Shown):
    """What is waited for: a permit of a limit. Times in ms since 1970."""

    name: str
    key: str
    kind: str
    most: int
    per_s: float | None
    used: int
    free_at: int | None
    held_by: list[RunId]
    ahead: int


class WhyOut(Shown):
    """Why a run does not move. Times in ms since 1970."""

    run_id: RunId
    kind: str
    sentence: str
    since: int | None
    until: int | None
    step: str | None
    attempt: int | None
    attempts_max: int | None
    worked_ms: int | None
    usually_ms: int | None
    last_error: dict[str, str] | None
    asked: list[AskedOut]
    on_its_way: list[str]
    refused: str | None
    worker: str | None
    children: list[str]
    limit: PermitWaitOut | None
    code: str | None
    version: str | None
    tags: dict[str, str]
    retried_as: list[str]
    retry_of: str | None
    actions: list[ActionOut]


class Started(Shown):
    id: RunId
    status: RunStatus


class Resumed(Shown):
    """`paths` are the steps that the data is for; null: it was accepted before, under the same `Idempotency-Key`."""

    paths: list[str] | None


class EventSent(Shown):
    is_new: bool


class Canceling(Shown):
    id: RunId


class RecordOut(Shown):
    """`body` is null where it was left out (`is_whole` is false then); `size` is its size in bytes."""

    seq: int
    kind: str
    time: str
    call: int | None
    path: str | None
    size: int
    hash: str
    body: Any = None
    is_whole: bool
    times: dict[str, int] | None = None


class RecordPage(Shown):
    """`next` is the number to go on `after`; null: there are no more records now."""

    records: list[RecordOut]
    next: int | None


class WorkflowOut(Shown):
    """`input_schema` is null where any input is taken, or the schema is known to the worker alone."""

    id: str
    input_schema: dict[str, Any] | None
    is_registered: bool
    versions: list[str]


class WorkflowList(Shown):
    workflows: list[WorkflowOut]


class VersionOut(Shown):
    id: str
    workflow: str
    digest: str
    deployed_at: str


class VersionList(Shown):
    versions: list[VersionOut]


class UsageOut(Shown):
    """Amounts that only grow; `cloche usage` has their units."""

    fuel: int
    overhead_fuel: int
    turns: int
    wall_us: int
    memory_kib_ms: int
    events: int
    steps: int
    log_bytes: int
    attempts: int = 0
    loop_us: int = 0


class TenantUsageOut(Shown):
    tenant: str
    runs: int
    usage: UsageOut


class UsageList(Shown):
    tenants: list[TenantUsageOut]


class WorkerOut(Shown):
    """`workflows` are those that it can start, null: it does not say; `runs` is how many it drives."""

    id: str
    is_dead: bool
    workflows: list[str] | None
    hung_steps: int
    runs: int


class WorkerList(Shown):
    """The names of those that live, and what is known of each, also of those that have died just now."""

    workers: list[str]
    details: list[WorkerOut]


class PrincipalOut(Shown):
    """Who asks, as the server sees it. `tenant` is null where all of them are reached; `default_tenant` is the one that is
    meant where a request names none."""

    id: str
    role: Literal["worker", "viewer", "operator", "admin"]
    tenant: str | None
    default_tenant: str


class TokenBody(Given):
    """A token that is to be made, of the tenant that the request is about, or of all of them."""

    role: Literal["worker", "viewer", "operator", "admin"] = "viewer"
    label: str = Field("", max_length=200, json_schema_extra={"pattern": LABEL})
    lasts_s: float | None = Field(
        None, strict=True, gt=0, lt=1e10, description="For how long it is valid; null: until it is revoked."
    )
    all_tenants: bool = Field(False, strict=True)


class TokenOut(Shown):
    """`tenant` is null where all of them are reached. Times as RFC 3339."""

    id: str
    tenant: str | None
    role: str
    label: str
    created_at: str
    expires_at: str | None
    used_at: str | None


class TokenMade(TokenOut):
    """`token` is shown this once: the store has its digest alone."""

    token: str


class TokenList(Shown):
    tokens: list[TokenOut]


class Health(Shown):
    is_ok: bool
