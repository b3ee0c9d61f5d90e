"""SIGTERM, for all apps of the process together: each is drained, then the process ends as it was asked to.

Only where the program has no handler of its own. The handler lives as long as an app does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

Drain: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_drains: dict[Drain, asyncio.AbstractEventLoop] = {}
_ending: set[asyncio.Task[None]] = set()


def listen(drain: Drain) -> None:
    """Have `drain` awaited, on the loop that runs now, before SIGTERM ends the process."""
    if threading.current_thread() is not threading.main_thread():
        return
    if not _drains and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, _begin_the_end)
    _drains[drain] = loop


def forget(drain: Drain) -> None:
    loop = _drains.pop(drain, None)
    if loop is not None and loop not in _drains.values():
        loop.remove_signal_handler(signal.SIGTERM)


def _begin_the_end() -> None:
    _ending.add(asyncio.ensure_future(_drain_and_end()))


async def _drain_and_end() -> None:
    try:
        await asyncio.gather(*(drain() for drain in list(_drains)), return_exceptions=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
