"""`evaluate`: code that a program wrote, a language model say, is kept, run and answered in one call.

What goes wrong in the code is no exception here but an answer, a `Problem`: whoever wrote the code reads it, mends a line and
sends the whole again. The run is one like any other: durable, metered, and bounded by the policy that it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from cloche.errors import DeployRefused, RunFailed, UsageError
from cloche.history.messages import WriteLog
from cloche.history.reading import message_of
from cloche.status import RunStatus
from cloche.store import Usage
from cloche.tenancy import Grant, Policy
from cloche_codegen import Step

if TYPE_CHECKING:
    from cloche.engines import Language
    from cloche.history import Failure, Record
    from cloche.run.results import RunResult

WORKFLOW = "evaluate"  # the id of what is evaluated
KEPT_MAX = 100  # texts of a tenant that stay deployed, so that they are not read again; the oldest are withdrawn
QUOTED_CHARS = 500
REFUSED = "refused"
_PLACE = re.compile(r" \(<workflow>, line \d+\)$")  # Python's own words of a SyntaxError: it is said beside them
_MARKED = re.compile(r"^@(?:cloche\.)?workflow\b", re.MULTILINE)
_MAIN = re.compile(r"^async def main\(", re.MULTILINE)

# By the code of a fault, or the name of an exception.
_WHAT_TO_DO = {
    "SyntaxError": "correct the line and send the whole code again",
    "IndentationError": "correct the line and send the whole code again",
    "NameError": "define the name or import it; only the steps that were given can be called by name",
    "UnboundLocalError": "give the name a value on every way that leads here",
    "ModuleNotFoundError": "use Python's standard library or a step: nothing else is installed here",
    "ImportError": "use Python's standard library or a step: nothing else is installed here",
    "ReferenceError": "define the name; only the steps that were given can be called by name",
    "RecursionError": "this calls itself too deeply: use a loop",
    "OutsideError": "there are no files, sockets, processes or threads here: use a step for what is outside",
    "NotGranted": "call only the steps that were given",
    "InvalidInput": "give the step what its parameters take",
    "TypeError": "give the call what it takes; a step is called with its own parameters, and awaited",
    "FuelExhausted": "this computes too long: end the loop, or compute less at a time",
    "TimeExhausted": "this computes too long: end the loop, or compute less at a time",
    "MemoryExhausted": "this needs too much memory: keep less of it at once",
    "StackExhausted": "this calls itself too deeply: use a loop",
    "Deadlock": "this waits for something that never comes: await what was begun",
    "too-costly": "send less code, or simpler code",
    "limit-exceeded": "send less code, or do less in it",
    "LimitExceeded": "do less: the bound is in the message",
}
_WHAT_TO_DO["fuel-exhausted"] = _WHAT_TO_DO["time-exhausted"] = "do less at the top level: put the work in the workflow"
_WHAT_TO_DO["memory-exhausted"] = _WHAT_TO_DO["MemoryExhausted"]
_OTHER = "mend this line, or catch the error where something else can be done"
_NOT_AWAITED = "await the step: its call gives nothing before it is awaited"
_NO_WORKFLOW = "write 'async def main(…)', or put @workflow above the async function that is to run"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the code, for whoever wrote it.

    `name` is the name of the exception or the code of what was met, `line` and `column` are in the source as it was given,
    counted from 1 (None where it is no line's fault), `text` is that line. `step` is the step that failed, if one did.
    """

    name: str
    what: str
    what_to_do: str
    line: int | None = None
    column: int | None = None
    text: str = ""
    step: str | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        quoted = f"\n    {self.text}" if self.text else ""
        return f"{where}{self.name}: {self.what}{quoted}\nTo do: {self.what_to_do}."

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of `evaluate`.

    `status` is that of the run, or "refused" where the code does not load: then no run was begun, and `run_id` is None.
    `printed` are the lines that the code printed or logged, `usage` what the run took.
    """

    status: str
    result: Any = None
    problem: Problem | None = None
    run_id: str | None = None
    printed: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    @property
    def ok(self) -> bool:
        return self.status == RunStatus.SUCCESS

    def unwrap(self) -> Any:
        """The result.

        Raises:
            RunFailed: there is none; its fact `problem` has why.
        """
        if self.ok:
            return self.result
        raise RunFailed(str(self.problem), run_id=self.run_id, status=self.status, error=None, problem=self.problem)

    def to_data(self) -> dict[str, Any]:
        """For JSON, as long as the result is: what a tool of a model answers with."""
        return asdict(self)


def granted(policy: Policy, steps: Iterable[Step | str]) -> Policy:
    """The policy that lets code call these steps beside those that it grants."""
    if policy.steps is None:
        return policy
    known = {grant.step for grant in policy.steps}
    ids = dict.fromkeys(_id(step) for step in steps)
    return policy.model_copy(update={"steps": (*policy.steps, *(Grant(step=id) for id in ids if id not in known))})


def with_names(source: str, language: Language, steps: Sequence[Step | str]) -> str:
    """The source, with the steps as functions of their names below it, so that its own lines keep their numbers.

    A name that the source has itself stays its own. In Python an `async def main(…)` is the workflow if none is marked.
    """
    named = {name: step for step in steps if (name := _name(step)).isidentifier() and not iskeyword(name)}
    if language == "javascript":
        calls = [
            f"globalThis[{json.dumps(name)}] ??= {_IN_JAVASCRIPT}({json.dumps(_id(step))});"
            for name, step in named.items()
        ]
        return "\n".join([source, *calls, ""])
    lines = [f"globals().setdefault({name!r}, _step({_call(step)}))" for name, step in named.items()]
    if lines:
        lines.insert(0, "from cloche import step as _step")
    if not _MARKED.search(source) and _MAIN.search(source):
        lines += ["from cloche import workflow as _workflow", "_workflow(main)"]
    return "\n".join([source, *lines, ""])


_IN_JAVASCRIPT = 'globalThis[Symbol.for("WORKFLOW_USE_STEP")]'


def _id(step: Step | str) -> str:
    if isinstance(step, (str, Step)):
        return step if isinstance(step, str) else step.id
    raise UsageError(f"steps= takes steps (@step, create_step) and ids of steps, and not {step!r}")


def _name(step: Step | str) -> str:
    """What the step is called as."""
    return _id(step).replace("-", "_")


def _call(step: Step | str) -> str:
    return repr(step) if isinstance(step, str) else f"{step.id!r}, signature={step.parameters.definition!r}"


def refusal(error: DeployRefused, source: str, steps: Sequence[Step | str]) -> Evaluation:
    """What is said of code that was not taken."""
    cause: Any = error.__cause__
    failure = getattr(cause, "facts", {}).get("failure")
    said = failure or cause or error
    name = failure.name if failure is not None else str(error.facts["reason"])
    line = error.facts.get("line") or (_innermost(failure) if failure is not None else None)
    line, text = _place(source, line)
    what = _PLACE.sub("", said.message)
    return Evaluation(
        REFUSED, problem=Problem(name, what, _to_do(name, what, steps), line, error.facts.get("column"), text)
    )


def answer(result: RunResult[Any], source: str, steps: Sequence[Step | str]) -> Evaluation:
    """What is said of a run that has come to rest, without what was printed and used."""
    if result.status == RunStatus.SUCCESS:
        return Evaluation(result.status, result.result, None, result.run_id)
    if result.error is not None:
        problem = _of_failure(result.error, source, steps)
    elif result.blocked is not None:
        problem = Problem("blocked", result.blocked["message"], result.blocked["what_to_do"])
    elif result.suspended:
        waits = ", ".join("/".join(path) for path in result.suspended)
        problem = Problem("suspended", f"step {waits} waits for somebody's answer", "resume the run when there is one")
    else:
        problem = Problem(result.status, f"the run is {result.status} and has no result", "send the code again")
    return Evaluation(result.status, problem=problem, run_id=result.run_id)


def printed_in(records: Iterable[Record]) -> list[str]:
    """The lines that the code printed or logged."""
    return [message.text for record in records if isinstance(message := message_of(record), WriteLog)]


def _of_failure(failure: Failure, source: str, steps: Sequence[Step | str]) -> Problem:
    line, text = _place(source, _innermost(failure))
    return Problem(
        failure.name, failure.message, _to_do(failure.name, failure.message, steps), line, None, text, failure.step
    )


def _innermost(failure: Failure) -> int | None:
    """The last line of the source itself that the failure came through."""
    own = [frame.line for frame in failure.trace if ":" not in frame.function]
    return own[-1] if own else None


def _place(source: str, line: Any) -> tuple[int | None, str]:
    lines = source.split("\n")
    if not isinstance(line, int) or not 0 < line <= len(lines):
        return None, ""
    return line, lines[line - 1].strip()[:QUOTED_CHARS]


def _to_do(name: str, what: str, steps: Sequence[Step | str]) -> str:
    if "put @workflow above it" in what:
        return _NO_WORKFLOW
    if "StepCall" in what:
        return _NOT_AWAITED
    to_do = _WHAT_TO_DO.get(name, _OTHER)
    if name in ("NotGranted", "NameError", "ReferenceError"):
        to_do += f": {', '.join(_name(step) for step in steps) or 'there are none'}"
    return to_do
