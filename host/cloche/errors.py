"""Every error cloche raises on purpose, cut by who can act.

    ClocheError
      UsageError            the caller: wrong call, bad input, unknown name
        InvalidInput          a value does not fit a schema, or cannot be stored
        NotFound              no such run or workflow
        RunConflict           this run id exists with another input
        NotSuspended          a run does not wait for what it was given
        AccessRefused         a server does not let us in, or not to this
      DeployRefused         a tenant's code does not load, or is not what it should be
      StartRefused          the workflow's `on_start` raised, in a worker
      RefusedByEngine       a foreign engine cannot say something of a workflow
      QueueFull             as many runs of the tenant wait to begin as may
        InboxFull             … or as many events for a run, or a tenant's runs
      MissingStep           a run needs a step that this process does not have
        SchemaChanged         … or has with another schema, which old data does not fit
      ForeignFile           a file to import is not an exported run, or is damaged
      TargetError           a command-line TARGET does not name a workflow
      GuestUnavailable      the installation: there is no guest, and none could be built
      RunFailed             the workflow: raised by `unwrap()` of a run that did not succeed
      GuestFault            the guest: it was stopped, or said something that is not in the grammar
        FuelExhausted · TimeExhausted · MemoryExhausted · StackExhausted · GuestTrapped
        MalformedOutput · OutputTooLarge · LoadFailed · InvalidResult
        LimitExceeded         a bound of the tenant's policy was met
          NotGranted            the policy does not allow this step or workflow
        CellLost              the process of its cell ended, or hung, in a turn
          CellGone              … or between two turns, which is nobody's fault
      HistoryError          the history
        Divergence            replay asked for something else than the history says
        BrokenChain           a record is not the one that was written
        CheckpointRejected    a saved cell is not what it should be; the run is replayed in full instead
      StoreError            the store
        SeqConflict           somebody else appended first
        LeasedElsewhere       another worker executes this run
          HeldBack              nobody does: its tenant is suspended, or its code in quarantine
        LeaseLost             this worker did, and another one does now
        StoreUnavailable      nothing was written; trying again may work
          StoreFull             the disk is full; runs go on when there is room
        StoreFailed           the disk did not confirm a write: this handle is not used any more
        ForeignStore          the file is not a cloche store, or of a newer version
        StoreRefused          the server does not let us in, or does not keep what it acknowledges
        DamagedStore          the file is a cloche store that can no longer be read

A message says what happened, where, and what to do next. `code` is stable and meant for programs; the facts are
attributes. `retryable` says whether the same call may succeed later.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from cloche.text import brief, shown


class ClocheError(Exception):
    """The base of all errors above. `facts` become attributes: `error.run_id`, `error.path` …

    A message is text for people (`text.shown`), of a length that people read (`text.brief`): it quotes names, code and values
    of whoever brought them.

    `what_to_do` is for the person who finds a run that is blocked by it.
    """

    code: ClassVar[str] = "cloche"
    retryable: ClassVar[bool] = False
    what_to_do: ClassVar[str] = "see the message; the run is tried again when the store is opened next"

    def __init__(self, message: str, **facts: Any) -> None:
        message = brief(shown(brief(message), lines=True))
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_revive, (type(self), self.message, self.facts))


def _revive(kind: type[ClocheError], message: str, facts: dict[str, Any]) -> ClocheError:
    return kind(message, **facts)


class UsageError(ClocheError):
    """A wrong call, bad input or an unknown name: the caller changes what it asks for."""

    code = "usage"


class InvalidInput(UsageError):
    """Facts: `path` (where in the value), `problems` (list of texts, the first 20), and where a schema was met
    `problem_count` (how many there are)."""

    code = "invalid-input"


class NotFound(UsageError):
    """Facts: `kind` ("run", "workflow"), `id`."""

    code = "not-found"


class RunConflict(UsageError):
    """Facts: `run_id`."""

    code = "run-conflict"


class NotSuspended(UsageError):
    """Facts: `run_id`, `suspended` (what does wait: paths and labels)."""

    code = "not-suspended"


class AccessRefused(UsageError):
    """A server knows nobody by the token, or its role or tenant does not allow what was asked. Facts: `status` (of HTTP)."""

    code = "access-refused"


class DeployRefused(UsageError):
    """Nothing was kept. Facts: `tenant`, `workflow`, `reason` (the code of what is wrong), `line` (or None), and where known
    `column`, or `problems` of a graph, or `limit`, `value` and `asked` as of the fault that it met."""

    code = "deploy-refused"


class RefusedByEngine(UsageError):
    """Nothing was added. Facts: `engine`, `workflow`, `problems` (a line for each node, with the reason)."""

    code = "refused-by-engine"


class QueueFull(UsageError):
    """Nothing was started. Facts: `tenant`, `limit` (the field of the policy), `value` (the bound), `asked`."""

    code = "queue-full"
    retryable = True


class InboxFull(QueueFull):
    """An event was not kept: as many wait as may. Facts: as above, and `run_id`."""

    code = "inbox-full"


class StartRefused(UsageError):
    """Nothing was started: `on_start` of the workflow raised, in the worker that was to begin the run. Facts: `workflow`,
    `error` (the name of what it raised)."""

    code = "start-refused"


class MissingStep(UsageError):
    """Facts: `run_id`, `step`."""

    code = "missing-step"
    what_to_do = "start a worker that has this step; the run goes on by itself"


class MissingWorkflow(MissingStep):
    """A run waits for a child of it. Facts: `run_id`, `workflow`."""

    code = "missing-workflow"
    what_to_do = "start a worker that has this workflow, or deploy it; the run goes on by itself"


class SchemaChanged(MissingStep):
    """What a step is given fits the schema that the run began with, and not the one that the step has here.

    Facts: `run_id`, `step`, `problems` (list of texts).
    """

    code = "schema-changed"
    what_to_do = "give what was added a default, or take the change back, and start a worker with that"


class ForeignFile(UsageError):
    """A file to import is not an exported run, or is damaged."""

    code = "foreign-file"


class TargetError(UsageError):
    """Facts: `target`."""

    code = "target"


class CompileError(UsageError):
    """TypeScript or JavaScript that cannot be compiled. Facts: `file`, `line` and `column` (from 1) of the first problem, and
    `problems`, each a mapping of `file`, `line`, `column`, `message` and `text`."""

    code = "compile"


class RunFailed(ClocheError):
    """Facts: `run_id`, `status`, `error` (the `Failure`, or None when the run was canceled or is not finished)."""

    code = "run-failed"


class GuestUnavailable(ClocheError):
    """There is no guest, and none could be built."""

    code = "guest-unavailable"


class GuestFault(ClocheError):
    """A cell that was stopped. It is dropped; the run is rebuilt from its history or ends with this fault.

    Facts, if it is about a bound: `limit` and `value`, and `asked` where it is known (`Policy` says when).
    `deterministic` tells whether the same history always ends here: then the fault is recorded as the run's end at
    once. A fault that depends on the machine (wall time, native stack) is tried again first.
    """

    code = "guest-fault"
    deterministic: ClassVar[bool] = True


class FuelExhausted(GuestFault):
    """The code computed longer than its policy allows."""

    code = "fuel-exhausted"


class TimeExhausted(GuestFault):
    """The code took more time in one turn than its policy allows."""

    code = "time-exhausted"
    deterministic = False


class MemoryExhausted(GuestFault):
    """The code needed more memory than its policy allows."""

    code = "memory-exhausted"


class StackExhausted(GuestFault):
    """The code called itself too deep."""

    code = "stack-exhausted"
    deterministic = False


class GuestTrapped(GuestFault):
    """The guest broke off: a fault of its code, or of cloche."""

    code = "guest-trapped"


class MalformedOutput(GuestFault):
    """The guest asked for something that is not in the grammar."""

    code = "malformed-output"


class OutputTooLarge(GuestFault):
    """The code asked for more in one event than a guest can say."""

    code = "output-too-large"


class LoadFailed(GuestFault):
    """The workflow's code could not be evaluated. Facts: `failure`."""

    code = "load-failed"


class InvalidResult(GuestFault):
    """What a workflow returned is of another type than its annotation or output schema says. Facts: `problems`, as those of
    `InvalidInput`."""

    code = "invalid-result"


class LimitExceeded(GuestFault):
    """A bound of the policy was met. Facts: `limit` (the field of `Policy`), `value` (the bound), `asked`."""

    code = "limit-exceeded"


class NotGranted(LimitExceeded):
    """Facts as above: `value` lists what is allowed."""

    code = "not-granted"


class CellLost(GuestFault):
    """The process that a cell was in ended, hung or went wrong while it was at work for it: the run is rebuilt in a new one. A
    run that this happens to three times running is ended with it."""

    code = "cell-lost"
    deterministic = False


class CellGone(CellLost):
    """It ended while the cell rested: no turn is to blame. Never seen by users: the run is rebuilt."""

    code = "cell-gone"


_LOOK_AT_IT = "run 'cloche verify' and 'cloche replay' on it; its history is kept as it is"


class HistoryError(ClocheError):
    """The records of a run are not as they must be."""

    code = "history"
    what_to_do = _LOOK_AT_IT


class Divergence(HistoryError):
    """Facts: `report` (a `DivergenceReport`)."""

    code = "divergence"


class BrokenChain(HistoryError):
    """Facts: `run_id`, `seq`."""

    code = "broken-chain"


class CheckpointRejected(HistoryError):
    """Never seen by users: what it leads to is a full replay."""

    code = "checkpoint-rejected"


class StoreError(ClocheError):
    """The store did not do what it was asked for."""

    code = "store"


class SeqConflict(StoreError):
    """Facts: `run_id`, `expected`. Load the history and go on from its end."""

    code = "seq-conflict"
    retryable = True


class LeasedElsewhere(StoreError):
    """Facts: `run_id`, `owner` (the worker that executes it)."""

    code = "leased-elsewhere"
    retryable = True


class HeldBack(LeasedElsewhere):
    """An operator holds a tenant back, or one version of its code. Facts: `tenant`, `reason`, `held_at` (ms since 1970)."""

    code = "held-back"


class LeaseLost(StoreError):
    """Nothing was written: what a worker brings that has lost its lease is late. Facts: `run_id`."""

    code = "lease-lost"


class StoreUnavailable(StoreError):
    """Nothing was written; trying again may work."""

    code = "store-unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    """The disk is full; runs go on when there is room."""

    code = "store-full"


class StoreFailed(StoreError):
    """What was written last may be there or not, and asking the disk again would not tell: a failed fsync forgets what it did
    not write. Only a new process that reads the log again knows."""

    code = "store-failed"


class ForeignStore(StoreError):
    """The file is not a cloche store, or of a newer version."""

    code = "foreign-store"


class StoreRefused(StoreError):
    """It stays so until somebody changes something: a password, a right, a setting of the server. Facts: `store` (its URL,
    without secrets)."""

    code = "store-refused"


class DamagedStore(StoreError):
    """The file is a cloche store that can no longer be read."""

    code = "damaged-store"
    what_to_do = _LOOK_AT_IT


class FatalError(Exception):
    """Raised by a step: this failure is final, its retries are not used."""


class RetryableError(Exception):
    """Raised by a step: try again after `retry_after`, seconds or a timedelta (None: as the step's own policy says).

    A step that says nothing of retries is tried three times in all.
    With a `retry_after` of another type the step fails at once, with a TypeError that says so.
    """

    def __init__(self, message: str = "", *, retry_after: float | timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownOutcome(Exception):
    """Caught in a workflow: a step that is to run at most once began, and nobody will hear how it ended. It may have done its
    work: look where it works, then decide."""


class RedispatchedTooOften(Exception):
    """Caught in a workflow: a step was begun again and again, and each time its process ended before it did."""


class CompletionError(Exception):
    """Caught in a workflow: of several things at once, fewer have succeeded than had to."""

    batch: Any  # how each of them ended, inside of a native workflow: a `Batch`


class HeavyTurn(Exception):
    """A turn took longer than the thread that asked for it can wait. Never seen by users: it is made again in another."""


class CellBusy(Exception):
    """A light turn cannot be made now, and none was begun: the cell's process starts, or is at something else. Never seen by
    users: it is made in another thread, which can wait."""
