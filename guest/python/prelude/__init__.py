"""`cloche` as a workflow sees it, in the Python guest."""

from typing import Any

from ._failures import (
    Canceled,
    ClocheError,
    CompletionError,
    EventTimeout,
    Failure,
    FatalError,
    InvalidInput,
    NotGranted,
    RedispatchedTooOften,
    RetryableError,
    UnknownOutcome,
)
from ._loop import patched
from ._models import Model
from ._native import gather, log, now, race, sleep, sleep_until, start_child, step, wait_for_event, workflow

__all__ = [
    "Canceled", "ClocheError", "CompletionError", "EventTimeout", "Failure", "FatalError", "InvalidInput", "Model",
    "NotGranted", "RedispatchedTooOften", "RetryableError", "UnknownOutcome", "gather", "log", "now", "patched", "race",
    "sleep", "sleep_until", "start_child", "step", "wait_for_event", "workflow",
]  # fmt: skip


class _Outside(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"cloche.{cls.__name__} belongs to the host and is not there under glass: make it a step")


def __getattr__(name: str) -> Any:
    """Names of the host's `cloche` can be imported, so that source runs as it was written, and not used."""
    if name.startswith("_"):
        raise AttributeError(f"cloche has no {name}")
    return _Outside(name, (), {})
