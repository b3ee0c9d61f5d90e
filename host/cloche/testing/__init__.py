"""Tools for tests of workflows: virtual time, doubles of steps, crashes everywhere, histories that must replay.

The pytest plugin (`cloche.testing.plugin`, there without being asked for) has them as fixtures. Everything is loaded when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.testing.apps import TestApp
    from cloche.testing.clock import StandStill, VirtualLoop, VirtualTime, VirtualWorld
    from cloche.testing.crashes import (
        CrashingSqliteStore,
        CrashingStore,
        CrashReport,
        crash_everywhere,
        several,
    )
    from cloche.testing.doubles import Call, StepDouble, double
    from cloche.testing.histories import assert_replays

_HOMES = {
    "apps": ("TestApp",),
    "clock": ("StandStill", "VirtualLoop", "VirtualTime", "VirtualWorld"),
    "crashes": ("CrashReport", "CrashingSqliteStore", "CrashingStore", "crash_everywhere", "several"),
    "doubles": ("Call", "StepDouble", "double"),
    "histories": ("assert_replays",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Call",
    "CrashReport",
    "CrashingSqliteStore",
    "CrashingStore",
    "StandStill",
    "StepDouble",
    "TestApp",
    "VirtualLoop",
    "VirtualTime",
    "VirtualWorld",
    "assert_replays",
    "crash_everywhere",
    "double",
    "several",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cloche.testing' has no attribute '{name}'")
    return getattr(import_module(f"cloche.testing.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
