"""The lowered workflow: a small typed tree of statements, the one place that says what a graph *does*.

Emitters print it, an interpreter may execute it; neither looks at the graph. It holds no JavaScript but code strings.
Results are named by node id; every function has its own names. Order of evaluation is the order written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


# ── where values come from ──────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Input:
    """What this function was called with: `initData`."""


@dataclass(frozen=True, slots=True)
class State:
    """The workflow state, a mapping (empty when none was given)."""


@dataclass(frozen=True, slots=True)
class Context:
    """The request context, a mapping (empty when none was given)."""


@dataclass(frozen=True, slots=True)
class Item:
    """Inside a body: its input. Inside the test of a loop: what the body gave."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Inside the test of a loop: how many turns have been made, from 1."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the statement `id` of this function gave."""

    id: str


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What one arm of the block `block` gave; undefined if it did not run (or, in a settled block, failed)."""

    block: str
    arm: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Literal_:
    """Plain JSON data."""

    value: object


# ── what is computed from them ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Get:
    """Own properties along `keys`, undefined as soon as one is missing. `of_step`: a null result counts as missing."""

    root: Value
    keys: tuple[str, ...]
    of_step: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Like Get, but a missing key before the last fails: `Invalid path <keys> in <label>`.

    With `of_step` a result that is null or absent fails likewise.
    """

    root: Value
    keys: tuple[str, ...]
    label: str
    of_step: bool


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first of several step results that is neither null nor absent, else undefined."""

    results: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text out of parts; values are shown as templates show them."""

    parts: tuple[str | Value, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """An object; fields whose value is undefined are left out."""

    fields: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Test:
    """An operator of the table of meanings over evaluated operands, undefined for a missing path."""

    op: str
    operands: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Constants:
    """The set of an `in`: a list of literals."""

    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class All:
    """True if every argument is, left to right, stopping at the first that is not."""

    args: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    """True if one argument is, left to right, stopping at the first that is."""

    args: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite truth."""

    arg: Value


@dataclass(frozen=True, slots=True)
class Code:
    """A JavaScript expression and the names it may use: of `stepResults` and `getStepResult`, the results listed."""

    text: str
    node: str  # for comments: whose code it is
    names: tuple[tuple[str, Value], ...]
    results: tuple[tuple[str, Value], ...]
    asks_results: bool  # names stepResults
    asks_by_call: bool  # names getStepResult


@dataclass(frozen=True, slots=True)
class Apply:
    """A Python function, called with a copy of `data`; with a context as well unless that is None.

    What it gives: a "value", copied as if it had crossed the glass; a "truth", True or False as Python takes it; or
    "seconds", a value again, of which a timedelta is its number of seconds.
    The context has the attributes `context` gives (input_data, init_data, state, request_context, in the test of a loop
    iteration_count; only those that the function may ask for), `steps`, a mapping of `results` without those that are
    undefined, `get_step_result(id)`, None for one that is not there, and `get_init_data()`.
    """

    name: str
    source: str  # Python statements: all it needs, and last `name` itself
    node: str  # for comments: whose function it is
    data: Value
    context: tuple[tuple[str, Value], ...] | None
    results: tuple[tuple[str, Value], ...]
    gives: Literal["value", "truth", "seconds"]
    expression: object  # the function as data, see `conditions.functions.subset`; None: it is Python alone


Value: TypeAlias = (
    Input
    | State
    | Context
    | Item
    | Turn
    | Result
    | ArmResult
    | Literal_
    | Get
    | Read
    | FirstOf
    | Text
    | Record
    | Test
    | Constants
    | All
    | Any_
    | Not
    | Code
    | Apply
)


# ── what is called ──────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Call:
    """A step, or the function of a nested workflow, under the path of `id`; the body of a block, or a statement.

    Around a nested workflow the host is told `entered(path, input)` and `left(path, outcome)`.
    """

    id: str
    target: str  # id of the step or workflow
    is_workflow: bool


# ── statements: each gives a result named by its id ─────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Perform:
    """Call once with `input`. `undo` is called with its result when a later statement of the function fails.

    Those of a function are called in the reverse order of their statements, each when the one before has ended. What one fails
    with is left at that, and the function fails as it did.
    """

    id: str
    call: Call
    input: Value
    undo: Call | None = None


@dataclass(frozen=True, slots=True)
class Map:
    """Compute `value` (entered and left under the path of the node; `input` is what flowed in)."""

    id: str
    input: Value
    value: Value


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait and give `input`. `ms`, or a number of seconds computed now: missing or negative is no wait."""

    id: str
    input: Value
    ms: int | None
    seconds: Value | None


@dataclass(frozen=True, slots=True)
class SleepUntil:
    """Wait until an instant and give `input`: ms since the epoch, or a date, text or number computed now."""

    id: str
    input: Value
    ms: int | None
    value: Value | None


@dataclass(frozen=True, slots=True)
class WaitForEvent:
    """Wait for the event `event` and give what it carries; the host is shown `input`.

    With `timeout_ms`, or a number of seconds computed now (missing or negative is none), it fails with an EventTimeout
    after that time: a timer under `id/timeout`, and whichever of the two comes first abandons the other.
    """

    id: str
    event: str
    input: Value
    timeout_ms: int | None
    timeout_seconds: Value | None


@dataclass(frozen=True, slots=True)
class Parallel:
    """Every call with `input`, at most `limit` at once. Waits for all, then the first failed one in order fails it.

    Once a call has failed, calls that wait for outside data (a suspended step, or a nested workflow that can only go on
    when one is resumed) are not waited for; they keep their places under `limit`, though.

    With `settle` nothing fails it: each arm gives {status: "success", output} or {status: "failed", error}.
    With `min_successes` it ends as soon as so many have succeeded, and fails as soon as so many no longer can; with
    `tolerated_failures` it fails as soon as more have failed, and fewer are left out of the result. Calls that are open
    when it ends well are abandoned; the failure is that of the first failed one in order, or a CompletionError.
    """

    id: str
    input: Value
    arms: tuple[Call, ...]
    limit: int | None
    settle: bool
    min_successes: int | None
    tolerated_failures: int | None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A call that runs if `test` is true. A test that raises fails the run with a ConditionError naming the arm."""

    test: Value
    call: Call


@dataclass(frozen=True, slots=True)
class Branch:
    """All tests first, in order; then every arm whose test held, at once, as Parallel does. None: an empty object."""

    id: str
    input: Value
    arms: tuple[Guarded, ...]


@dataclass(frozen=True, slots=True)
class Choose:
    """Tests in order up to the first that holds; that arm alone, or `otherwise`, or an empty object."""

    id: str
    input: Value
    arms: tuple[Guarded, ...]
    otherwise: Call | None


@dataclass(frozen=True, slots=True)
class Loop:
    """Call the body, then test; go on until the test's truth is `until`. Turn n runs under the path `id[n]`, from 1."""

    id: str
    input: Value
    call: Call
    test: Value
    until: bool


@dataclass(frozen=True, slots=True)
class Foreach:
    """Call the body for each item of a list in a rolling window; item i runs under the path `id[i]`, from 0.

    `stop`: a failure starts nothing new, waits for what is in flight and not suspended, and fails with the first failed
    item in order. `collect`: each item gives {status: "success", output} or {status: "failed", error}.
    `min_successes`, `tolerated_failures`: as in Parallel; the result lists the outputs of the items that succeeded.
    The list as a whole is entered and left under `id`.
    """

    id: str
    input: Value
    call: Call
    concurrency: int | Value
    on_error: Literal["stop", "collect"]
    min_successes: int | None
    tolerated_failures: int | None


Statement: TypeAlias = Perform | Map | Sleep | SleepUntil | WaitForEvent | Parallel | Branch | Choose | Loop | Foreach


@dataclass(frozen=True, slots=True)
class Line:
    """A statement, with a comment for the reader."""

    kind: str
    description: str | None
    statement: Statement


@dataclass(frozen=True, slots=True)
class Function:
    """One workflow: its statements in order, and what it gives. Nested ones are called with a path as well."""

    id: str
    description: str | None
    body: tuple[Line, ...]
    result: Value

    @property
    def is_saga(self) -> bool:
        """Whether something is undone when it fails."""
        return any(isinstance(line.statement, Perform) and line.statement.undo is not None for line in self.body)


@dataclass(frozen=True, slots=True)
class Module:
    """A whole graph: nested workflows, each before its first use, and the one that runs."""

    functions: tuple[Function, ...]
    main: Function
