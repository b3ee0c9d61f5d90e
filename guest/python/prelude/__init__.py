"""`cloche` as a workflow sees it, in the Python guest."""

from typing import Any

from ._batches import Batch, BatchItem
from ._failures import (
    Canceled,
    ClocheError,
    CompletionError,
    DeadlineExceeded,
    EventTimeout,
    Failure,
    FatalError,
    HeartbeatTimeout,
    HookConflict,
    InvalidInput,
    NotGranted,
    RedispatchedTooOften,
    RetryableError,
    RunConflict,
    UnknownOutcome,
)
from ._hooks import Hook, create_hook
from ._loop import patched
from ._models import Model
from ._native import (
    continue_as_new,
    log,
    now,
    scope,
    set_deadline,
    set_tags,
    sleep,
    sleep_until,
    start_child,
    step,
    wait_for_event,
    workflow,
)
from ._near import nearest
from ._together import Begun as Task
from ._together import create_task, gather, race

__all__ = [
    "Batch", "BatchItem", "Canceled", "ClocheError", "CompletionError", "DeadlineExceeded", "EventTimeout", "Failure",
    "FatalError", "HeartbeatTimeout", "Hook", "HookConflict", "InvalidInput", "Model", "NotGranted",
    "RedispatchedTooOften", "RetryableError", "RunConflict", "Task", "UnknownOutcome", "continue_as_new", "create_hook",
    "create_task", "gather", "log", "now", "patched", "race", "scope", "set_deadline", "set_tags", "sleep", "sleep_until",
    "start_child", "step", "wait_for_event", "workflow",
]  # fmt: skip


class _Outside(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"cloche.{cls.__name__} belongs to the host and is not there under glass: make it a step")


_OF_THE_HOST = ("Step", "Workflow")  # that look like names of here; a test knows them all


def __getattr__(name: str) -> Any:
    """Names of the host's `cloche` can be imported, so that source runs as it was written, and not used."""
    near = None if name.startswith("_") or name in _OF_THE_HOST else nearest(name, __all__)
    if near or name.startswith("_"):
        meant = f". Did you mean {near!r}?" if near else ""
        raise AttributeError(f"module 'cloche' has no attribute {name!r}{meant}")
    return _Outside(name, (), {})
