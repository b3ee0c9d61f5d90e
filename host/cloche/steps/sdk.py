"""Steps that the Workflow SDK's own code asks for and that the host answers: `start`, what a `Run` is asked, hooks, signals.

Their ids are those of the SDK's packages, with or without a version (`step//@workflow/core/runtime/run@5.0.0//Run#status`).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import FatalError, NotFound
from cloche.history.messages import CompleteRun
from cloche.history.reading import message_of
from cloche.status import FINAL, RunStatus
from cloche.steps.node import NodeStep, abort_everywhere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.steps.binding import Arguments
    from cloche.steps.context import StepContext
    from cloche_codegen import Step

    Answer = Callable[[Arguments, StepContext], Awaitable[Any]]

_CORE: Final = re.compile(r"step//@workflow/core/[^/]+(?:/[^/]+)*//(start|Run#\w+)\Z")
RUN_CLASS: Final = "class//workflow//Run"
_STATUS: Final = {
    RunStatus.SUCCESS: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELED: "cancelled",
    RunStatus.PENDING: "pending",
}


def builtin(id: str) -> Step | None:
    """The step of this id, if it is one that the host answers itself."""
    named = _CORE.match(id)
    answer = _ANSWERS.get(named[1] if named else id)
    return None if answer is None else _Builtin.of(id, answer)


class _Builtin(NodeStep):
    """Takes its call as it was made, as steps on Node do."""

    @classmethod
    def of(cls, id: str, answer: Answer) -> _Builtin:
        known = _made.get(id)
        if known is None:
            made = cls(id=id, execute=answer, is_async=True, retries=0)
            known = _made[id] = made
            while len(_made) > MADE_MAX:
                del _made[next(iter(_made))]
        return known

    async def call(self, asked: Arguments, ctx: StepContext, *, tagged: bool) -> Any:
        return await self.execute(asked, ctx)


MADE_MAX = 1_000  # ids have versions of packages in them, and a tenant's code chooses them
_made: dict[str, _Builtin] = {}


async def _start(asked: Arguments, ctx: StepContext) -> Any:
    """A run of its own: of the workflow that is named, with these arguments. Asked again, it is the same run.

    The name means what it means to the code that asks: see `ChildStart.owner`.
    """
    form, *more = asked.positional
    id = form.get("id") if isinstance(form, dict) and form.get("~") == "workflow" else form
    if not isinstance(id, str):
        raise FatalError("start takes a workflow function, and was given something else")
    args = more[0] if more and isinstance(more[0], list) else []
    run_id = "wrun_" + blake2b(f"{ctx.run_id}\0{ctx.path}".encode(), digest_size=13).hexdigest().upper()
    try:
        run = await ctx._services.start_named(id, args, run_id)
    except NotFound:
        run = await ctx._services.start_named(id.rpartition("//")[2], args, run_id)
    return {"~": "instance", "id": RUN_CLASS, "data": {"runId": run.id}}


def _of_run(ask: Callable[[Any], Awaitable[Any]]) -> Answer:
    async def answer(asked: Arguments, ctx: StepContext) -> Any:
        return await ask(await ctx._services.other_run(_run_id(asked)))

    return answer


def _run_id(asked: Arguments) -> str:
    run = asked.keywords.get("this")
    data = run.get("data") if isinstance(run, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("runId"), str):
        raise FatalError("this is asked of a run: getRun(id), or what start() gave")
    return str(data["runId"])


async def _exists(asked: Arguments, ctx: StepContext) -> bool:
    try:
        await _of_run(_status)(asked, ctx)
    except NotFound:
        return False
    return True


async def _return_value(run: Any) -> Any:
    result = await run.result(final=True)
    if result.status is RunStatus.SUCCESS:
        return await _recorded(run)
    name = "WorkflowRunCancelledError" if result.status is RunStatus.CANCELED else "WorkflowRunFailedError"
    why = f": {result.error.message}" if result.error is not None else ""
    raise type(name, (FatalError,), {})(
        f'Workflow run "{run.id}" {_STATUS.get(result.status, result.status)}{why}'
    ) from result.error


async def _recorded(run: Any) -> Any:
    """Its result as the log has it: whoever asks knows values as JavaScript has them. Little comes after a run's end."""
    seq = (await run.row()).head_seq
    while not isinstance(message := message_of((await run.records(seq - 1, 1))[0]), CompleteRun):
        seq -= 1
    return message.value


async def _status(run: Any) -> str:
    status = await run.status()
    return _STATUS.get(status, "running")


async def _name(run: Any) -> str:
    return str((await run.row()).workflow)


async def _cancel(run: Any) -> None:
    await run.cancel()


def _time(name: str) -> Callable[[Any], Awaitable[Any]]:
    async def ask(run: Any) -> Any:
        row = await run.row()
        if name == "ended" and RunStatus(row.status) not in FINAL:
            return {"~": "undefined"}
        at = row.updated_at if name == "ended" else row.created_at
        return datetime.fromtimestamp(at / 1000, UTC)

    return ask


async def _readable(asked: Arguments, ctx: StepContext) -> Any:
    """The stream that another run writes with `getWritable`, as a handle: steps read it."""
    run, options = _run_id(asked), asked.positional[0] if asked.positional else None
    namespace = options.get("namespace") if isinstance(options, dict) else None
    await ctx._services.other_run(run)
    return {"~": "stream", "name": stream_name(run, namespace), "mode": "readable", "run": run}


async def _wake_up(asked: Arguments, ctx: StepContext) -> Any:
    """Another run's sleeps end now: those that `correlationIds` names by their paths, or all."""
    options = asked.positional[0] if asked.positional else None
    named = options.get("correlationIds") if isinstance(options, dict) else None
    paths = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return {"stoppedCount": await ctx._services.wake(_run_id(asked), paths)}


def stream_name(run: str, namespace: object = None) -> str:
    """What `getWritable({namespace})` of a run is called."""
    own = f"strm_{run.removeprefix('wrun_')}_user"
    if not isinstance(namespace, str):
        return own
    return f"{own}_{urlsafe_b64encode(namespace.encode()).decode().rstrip('=')}"


async def _abort(asked: Arguments, ctx: StepContext) -> None:
    """A signal that steps hold was aborted by the workflow."""
    signal, *reason = asked.positional
    abort_everywhere(ctx.run_id, str(signal), reason[0] if reason else None)


async def _hook_conflict(asked: Arguments, ctx: StepContext) -> Any:
    """Which other run waits with a hook that has this token; None if none does."""
    owner = await ctx._services.waits_for(str(asked.positional[0]))
    return None if owner is None else {"~": "instance", "id": RUN_CLASS, "data": {"runId": owner}}


_ANSWERS: Final[dict[str, Answer]] = {
    "start": _start,
    "Run#returnValue": _of_run(_return_value),
    "Run#status": _of_run(_status),
    "Run#exists": _exists,
    "Run#cancel": _of_run(_cancel),
    "Run#workflowName": _of_run(_name),
    "Run#createdAt": _of_run(_time("created")),
    "Run#startedAt": _of_run(_time("created")),
    "Run#completedAt": _of_run(_time("ended")),
    "Run#getReadable": _readable,
    "Run#wakeUp": _wake_up,
    "__cloche_abort": _abort,
    "__cloche_hook_conflict": _hook_conflict,
}
