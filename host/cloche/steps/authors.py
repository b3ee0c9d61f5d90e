"""Code of authors that no attempt of a step stands around: whatever it raises is told, and ends no worker."""

from __future__ import annotations

import asyncio


def is_raised(error: BaseException) -> bool:
    """Whether an author's code has raised it, and it does not mean that this task or the process is to end.

    A SystemExit that leaves a task ends the process without a word. A KeyboardInterrupt may be Ctrl-C.
    """
    if isinstance(error, KeyboardInterrupt):
        return False
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs: this coroutine is being closed
            return False
        return task is not None and not task.cancelling()
    return True
