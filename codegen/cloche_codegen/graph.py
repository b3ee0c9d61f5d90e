"""The graph: a workflow as data. Frozen models, one JSON form, a format version; what is stored, hashed and sent.

A graph holds the tables that make it whole: `steps` (schemas and retry options of every step, never its function) and
`workflows` (the definition of every nested workflow, once). Nodes refer to both by id. Whether the references hold is
`validate`'s business; the models only say what a graph looks like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AwareDatetime, Field, JsonValue, ValidationError, model_serializer, model_validator
from pydantic_core import ErrorDetails

from cloche_codegen.conditions.predicates import PREDICATE_KINDS, Frozen, PathOperand, Predicate
from cloche_codegen.errors import GraphError, Problem
from cloche_codegen.schemas import JsonSchema
from cloche_codegen.steps import RetryConfig

FORMAT: Final = 1
Guest: TypeAlias = Literal["auto", "javascript", "python"]
Mode: TypeAlias = Literal["strict", "host-closures"]


class CodeText(Frozen):
    """A JavaScript expression. As a condition its truth counts; elsewhere its value."""

    type: Literal["code"] = "code"
    code: str


class FunctionText(Frozen):
    """A Python function, called with copies: `(data)`, or `(data, ctx)` where it has two `parameters`.

    `source` is Python: statements that define all it needs, and last the function under `name`. `expression` is the same
    function as data where it is simple enough to be made into JavaScript too, see `conditions.functions.subset`. As a
    condition its truth counts, as Python takes it; elsewhere its value.
    """

    type: Literal["function"] = "function"
    name: str
    source: str
    parameters: Literal[1, 2] = 1
    expression: list[JsonValue] | None = None

    @model_serializer
    def _whole(self) -> dict[str, Any]:
        """As the models have it, but a null inside of the expression is a literal and stays."""
        fields = {name: getattr(self, name) for name in ("type", "name", "source", "parameters", "expression")}
        return fields if self.expression is not None else {k: v for k, v in fields.items() if k != "expression"}


class PredicateTest(Frozen):
    """A predicate: as a condition, or as a value that is true or false."""

    type: Literal["predicate"] = "predicate"
    predicate: Predicate


Condition: TypeAlias = Annotated[PredicateTest | CodeText | FunctionText, Field(discriminator="type")]


class LiteralValue(Frozen):
    """A value that is written down."""

    type: Literal["literal"] = "literal"
    value: JsonValue

    @model_serializer
    def _whole(self) -> dict[str, Any]:
        return {"type": self.type, "value": self.value}  # also when it is null, which otherwise means: not set


class TemplateValue(Frozen):
    """A text with places, see `templates`."""

    type: Literal["template"] = "template"
    template: str


class PathValue(Frozen):
    """The value at a dotted path: a missing last key is undefined, a missing earlier one fails the node."""

    type: Literal["path"] = "path"
    path: str


class StepValue(Frozen):
    """A value in the result of a step: of `steps`, the first that has one. `path` is dotted; "." is the whole."""

    type: Literal["step"] = "step"
    steps: tuple[str, ...] = Field(min_length=1)
    path: str = "."


class ObjectValue(Frozen):
    """An object of values; a field whose value is undefined is left out."""

    type: Literal["object"] = "object"
    fields: dict[str, Value]


Value: TypeAlias = Annotated[
    LiteralValue | TemplateValue | PathValue | StepValue | PredicateTest | CodeText | FunctionText | ObjectValue,
    Field(discriminator="type"),
]


class _Node(Frozen):
    id: str
    description: str | None = None
    metadata: dict[str, JsonValue] | None = None


class StepNode(_Node):
    """A call of a step of the table `steps`. A `tap`'s result is for who asks for it by id: what flows on is what flowed in.
    `compensate` is the step that undoes it."""

    type: Literal["step"] = "step"
    step: str
    tap: Literal[True] | None = None
    compensate: str | None = None


class WorkflowNode(_Node):
    """A nested workflow of the table `workflows`, run inside the same run."""

    type: Literal["workflow"] = "workflow"
    workflow: str
    compensate: str | None = None


Body: TypeAlias = Annotated[StepNode | WorkflowNode, Field(discriminator="type")]


class MapNode(_Node):
    """Reshapes data; `value` is what flows on."""

    type: Literal["map"] = "map"
    value: Value


class SleepNode(_Node):
    """Waits and passes its input through: `ms` milliseconds, or as many seconds as `seconds` computes."""

    type: Literal["sleep"] = "sleep"
    ms: int | None = Field(default=None, ge=0, le=8_640_000_000_000_000)  # as far as a date of JavaScript goes
    seconds: Value | None = None

    @model_validator(mode="after")
    def _one_of(self) -> SleepNode:
        if (self.ms is None) == (self.seconds is None):
            raise ValueError("a sleep has either ms or seconds")
        return self


class SleepUntilNode(_Node):
    """Waits until an instant: `date`, or what `value` computes (a date, RFC 3339 text, or ms since the epoch)."""

    type: Literal["sleep_until"] = "sleep_until"
    date: AwareDatetime | None = None
    value: Value | None = None

    @model_validator(mode="after")
    def _one_of(self) -> SleepUntilNode:
        if (self.date is None) == (self.value is None):
            raise ValueError("a sleep_until has either date or value")
        return self


class WaitForEventNode(_Node):
    """Waits for an event from outside and gives what it carries; with a timeout it fails when none came in time."""

    type: Literal["wait_for_event"] = "wait_for_event"
    event: str
    payload_schema: JsonSchema | None = None
    timeout_ms: int | None = Field(default=None, ge=0, le=8_640_000_000_000_000)
    timeout_seconds: Value | None = None

    @model_validator(mode="after")
    def _one_of(self) -> WaitForEventNode:
        if self.timeout_ms is not None and self.timeout_seconds is not None:
            raise ValueError("a wait_for_event has timeout_ms or timeout_seconds, not both")
        return self


class ParallelNode(_Node):
    """All arms with the same input, at most `limit` at once; the result is keyed by the ids of the arms."""

    type: Literal["parallel"] = "parallel"
    arms: tuple[Body, ...]
    limit: int | None = Field(default=None, ge=1)
    settle: bool = False
    min_successes: int | None = Field(default=None, ge=1)
    tolerated_failures: int | None = Field(default=None, ge=0)


class Arm(Frozen):
    """A condition and what runs when it holds."""

    condition: Condition
    body: Body


class BranchNode(_Node):
    """Every arm whose condition holds, at once; the result is keyed by the ids that ran."""

    type: Literal["branch"] = "branch"
    arms: tuple[Arm, ...]


class ChooseNode(_Node):
    """The first arm whose condition holds, else `otherwise`; the result is keyed by the id that ran."""

    type: Literal["choose"] = "choose"
    arms: tuple[Arm, ...]
    otherwise: Body | None = None


class LoopNode(_Node):
    """The body, then the test; each turn's output is the next turn's input."""

    type: Literal["loop"] = "loop"
    kind: Literal["dountil", "dowhile"]
    body: Body
    condition: Condition


class ForeachNode(_Node):
    """The body once per item of a list, at most `concurrency` at once, results in the order of the items."""

    type: Literal["foreach"] = "foreach"
    body: Body
    concurrency: int | Value = 1
    on_error: Literal["stop", "collect"] = "stop"
    min_successes: int | None = Field(default=None, ge=1)
    tolerated_failures: int | None = Field(default=None, ge=0)


Node: TypeAlias = Annotated[
    StepNode
    | WorkflowNode
    | MapNode
    | SleepNode
    | SleepUntilNode
    | WaitForEventNode
    | ParallelNode
    | BranchNode
    | ChooseNode
    | LoopNode
    | ForeachNode,
    Field(discriminator="type"),
]


class StepSpec(Frozen):
    """What is known of a step without its function."""

    description: str | None = None
    input_schema: JsonSchema | None = None
    output_schema: JsonSchema | None = None
    resume_schema: JsonSchema | None = None
    suspend_schema: JsonSchema | None = None
    state_schema: JsonSchema | None = None
    retries: int | None = Field(default=None, ge=0)
    retry_config: RetryConfig | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    metadata: dict[str, JsonValue] | None = None


class Definition(Frozen):
    """One workflow: its schemas and its nodes in order. `checks_input`: where it is nested, `input_schema` is held to.

    Graphs from before that do not say so, and are entered with anything."""

    id: str
    description: str | None = None
    metadata: dict[str, JsonValue] | None = None
    input_schema: JsonSchema | None = None
    checks_input: Literal[True] | None = None
    output_schema: JsonSchema | None = None
    state_schema: JsonSchema | None = None
    retry_config: RetryConfig | None = None
    nodes: tuple[Node, ...]


class NativeText(Frozen):
    """A workflow that is an async function: Python that defines all it needs, and last the function under `name`.

    It takes the input, and what was given beside it where it has two `parameters`; else `input` says what it takes, and `given`
    which parameter gets the other. A step it calls is defined as `name = _step("id", …)`. `exceptions`: its classes, and how
    steps call them. `types`: `takes` by parameter, `returns`, `state` by key. `files`: those of modules it imports, by path.
    """

    name: str
    source: str
    parameters: Literal[0, 1, 2] = 1
    input: Literal["value", "names", "either", "nothing"] | None = None
    given: str | None = None
    exceptions: dict[str, str] | None = None
    types: dict[str, JsonValue] | None = None
    files: dict[str, str] | None = None


class Graph(Definition):
    """A whole workflow: the definition that runs, and the tables of what it uses. One that is `native` has no nodes."""

    format: Literal[1] = FORMAT
    guest: Guest = "auto"
    mode: Mode = "strict"
    steps: dict[str, StepSpec] = Field(default_factory=dict)
    workflows: dict[str, Definition] = Field(default_factory=dict)
    native: NativeText | None = None

    def to_json(self, *, indent: int | None = None) -> str:
        """The stored form: keys in the order of the models, what is not set left out; the same text every time."""
        return self.model_dump_json(exclude_none=True, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Graph:
        """The graph of a stored text. References inside it are not checked here: see `validate.problems_of`.

        Raises:
            GraphError: It is no graph: every place that is wrong is a problem, its path that of the JSON.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise GraphError.all("this is not a graph that can be loaded", _problems(error, text)) from error

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-256 of the stored form, in hexadecimal."""
        return blake2b(self.to_json().encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()

    def definitions(self) -> dict[str, Definition]:
        """Every workflow of the graph by id, this one first."""
        return {self.id: self, **self.workflows}


def _problems(error: ValidationError, text: str | bytes) -> list[Problem]:
    """What pydantic found, one problem for each place: every member of a union complains on its own."""
    found: dict[str, Problem] = {}
    document = _read(text)
    for detail in error.errors(include_url=False, include_context=False):
        one = _problem(detail, document)
        first = found.setdefault(one.path, one)
        if first is not one:
            found[one.path] = Problem(one.code, one.path, f"{first.message}; or: {one.message}")
    return list(found.values())


def _read(text: str | bytes) -> Any:
    """The document, read once for all of its problems; None where it cannot be read, and no place in it is named."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _problem(detail: ErrorDetails, document: Any) -> Problem:
    """A pydantic error as a problem, its path that of the JSON."""
    if detail["loc"] == ("format",):
        message = f"format {detail['input']!r} is not known here, {FORMAT} is; update cloche, or export the graph again"
        return Problem("unknown_format", "format", message)
    where = ".".join(map(str, _json_path(detail["loc"], document))) if detail["loc"] else "graph"
    return Problem("bad_graph", where, detail["msg"])


def _json_path(loc: tuple[int | str, ...], document: Any) -> Iterator[int | str]:
    """The parts of a location that are in the document: pydantic also names the member of each union it went through.

    Such a name comes right after an object was entered: it is that object's `type`, or the class of a predicate.
    """
    here = document
    entered = True
    for index, part in enumerate(loc):
        is_object = isinstance(here, dict)
        if is_object and part in PREDICATE_KINDS and len(here) == 1:
            (operator,) = here
            yield operator
            here, entered = here[operator], True
            continue
        if entered and is_object and (here.get("type") == part or (part not in here and index < len(loc) - 1)):
            entered = False
            continue
        if not isinstance(here, dict | list):
            return
        yield part
        inside = part in here if isinstance(here, dict) else isinstance(part, int) and part < len(here)
        here = here[part] if inside else None  # type: ignore[index]
        entered = True


def bodies_of(node: Node) -> tuple[StepNode | WorkflowNode, ...]:
    """The single calls of a node, in order: itself, its arms or its body; none for maps and waits."""
    match node:
        case StepNode() | WorkflowNode():
            return (node,)
        case ParallelNode():
            return node.arms
        case BranchNode():
            return tuple(arm.body for arm in node.arms)
        case ChooseNode():
            return (*(arm.body for arm in node.arms), *((node.otherwise,) if node.otherwise else ()))
        case LoopNode() | ForeachNode():
            return (node.body,)
        case MapNode() | SleepNode() | SleepUntilNode() | WaitForEventNode():
            return ()


__all__ = [
    "FORMAT",
    "Arm",
    "Body",
    "BranchNode",
    "ChooseNode",
    "CodeText",
    "Condition",
    "Definition",
    "ForeachNode",
    "FunctionText",
    "Graph",
    "Guest",
    "LiteralValue",
    "LoopNode",
    "MapNode",
    "Mode",
    "NativeText",
    "Node",
    "ObjectValue",
    "ParallelNode",
    "PathOperand",
    "PathValue",
    "PredicateTest",
    "SleepNode",
    "SleepUntilNode",
    "StepNode",
    "StepSpec",
    "StepValue",
    "TemplateValue",
    "Value",
    "WaitForEventNode",
    "WorkflowNode",
    "bodies_of",
]
