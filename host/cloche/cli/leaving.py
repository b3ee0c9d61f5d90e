"""How commands that execute runs end: by themselves, or when they are asked to, within a bound whatever the steps do.

The first Ctrl-C or SIGTERM asks: what runs may end, for the drain time, and that is said. The second ends the process at once.
A step that blocks the event loop, or swallows its cancellation, keeps the process from ending by itself: then it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloche.client import Cloche

T = TypeVar("T")

GRACE_S = 5.0  # beyond the drain time, for what follows it: the store is closed, and the worker leaves
LAST_S = 1.0  # for tasks that were told to end
NAMED_MAX = 10


class Leaving:
    """`asked` is set by the first signal. Of the app that it watches it says then what runs."""

    def __init__(self, drain_s: float) -> None:
        self.asked = asyncio.Event()
        self._app: Cloche | None = None
        self._drain_s = drain_s
        self._loop = asyncio.get_running_loop()
        self._watchdog: threading.Timer | None = None
        self._before: dict[int, Any] = {}

    def watch(self, app: Cloche) -> None:
        """Its steps are those that are waited for."""
        self._app = app

    def listen(self) -> None:
        """Take the signals. Handlers of the process, not of the loop: a step may block that."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)

    def close(self) -> None:
        """It has ended in time."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self, number: int = signal.SIGTERM) -> None:
        """As the first signal does. From any thread."""
        if self._watchdog is not None:
            return
        self._watchdog = threading.Timer(self._drain_s + GRACE_S, self._end_anyway, [128 + number])
        self._watchdog.daemon = True
        self._watchdog.start()
        again = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self._loop.call_soon_threadsafe(self._leave, again)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._watchdog is not None:
            end_now(128 + number)
        self.ask(number)

    def _leave(self, again: str) -> None:
        if self._app is not None and self._app.is_open and (steps := self._app.under_way):
            click.echo(
                f"waiting up to {self._drain_s:g} s for what runs: {listed(steps)}; {again} again ends at once",
                err=True,
            )
        self.asked.set()

    def _end_anyway(self, code: int) -> None:
        # Without a look at the loop's objects: it may be that it stands still in the midst of changing them.
        os.write(2, b"what runs did not end, and blocks the process: it is ended, and its steps are begun again\n")
        end_now(code)


def listed(steps: Sequence[str]) -> str:
    more = len(steps) - NAMED_MAX
    return ", ".join([*steps[:NAMED_MAX], *([f"{more} more"] if more > 0 else [])])


def end_now(code: int) -> None:
    """End the process with what was printed; nothing else is waited for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, RuntimeError):  # its reader is gone, or it was in the midst of a write
            stream.flush()
    os._exit(code)


def run_to_end(main: Callable[[Leaving], Coroutine[Any, Any, T]], drain_s: float, finish: Callable[[T], int]) -> int:
    """Run `main` on a loop of its own; the exit code that `finish` makes of what it gives.

    Where tasks are left that do not end, the process ends here, with that code: `asyncio.run` would wait for them.
    """
    with asyncio.Runner() as runner:
        code, is_over = runner.run(_whole(main, drain_s, finish))
        if not is_over:
            end_now(code)
    return code


async def _whole(
    main: Callable[[Leaving], Coroutine[Any, Any, T]], drain_s: float, finish: Callable[[T], int]
) -> tuple[int, bool]:
    leaving = Leaving(drain_s)
    leaving.listen()
    try:
        code = finish(await main(leaving))
    finally:
        leaving.close()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    if left:
        _, left_for_ever = await asyncio.wait(left, timeout=LAST_S)
        return code, not left_for_ever
    return code, True
