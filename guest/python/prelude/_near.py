"""What somebody meant by a name that is not there: told with the failure of the run, by the names that are there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any


def near_name(error: AttributeError | ImportError | NameError) -> str:
    """`. Did you mean 'gather'?`, or nothing. No code of the workflow is called for it."""
    with suppress(Exception):
        name, names = _looked_for(error)
        if isinstance(name, str) and (near := nearest(name, names)):
            return f". Did you mean {near!r}?"
    return ""


def nearest(name: str, names: Iterable[Any]) -> str | None:
    """The name that is written in the place of `name` by the fewest slips: one for each four letters, at least one."""
    most = max(1, len(name) // 4)
    some = {
        one for one in names if isinstance(one, str) and not one.startswith("_") and abs(len(one) - len(name)) <= most
    }
    near = sorted((slips, one) for one in some if (slips := _slips(name, one)) <= most)
    return near[0][1] if near else None


def _slips(wrong: str, right: str) -> int:
    """Letters left out, put in, taken for others, and neighbours that changed places."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(wrong, 1):
        above, before, row = before, row, [i]
        for j, other in enumerate(right, 1):
            least = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and wrong[i - 2] == other:
                least = min(least, above[j - 2] + 1)
            row.append(least)
    return row[-1]


def _looked_for(error: AttributeError | ImportError | NameError) -> tuple[Any, Iterable[Any]]:
    """The name, and those that are where it was looked for."""
    if isinstance(error, ImportError):
        return getattr(error, "name_from", None), vars(sys.modules[error.name or ""])
    if isinstance(error, AttributeError):
        return error.name, _attributes(error.obj)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    frame = trace.tb_frame
    return error.name, [*frame.f_locals, *frame.f_globals, *frame.f_builtins]


def _attributes(found: Any) -> list[Any]:
    if isinstance(found, ModuleType):
        return list(vars(found))
    own: list[str] = []
    with suppress(AttributeError):  # of a text, of a class with slots
        own += object.__getattribute__(found, "__dict__")
    keys = dict.keys(found) if isinstance(found, dict) else ()
    return [*keys, *own, *(name for kind in type(found).__mro__ for name in vars(kind))]
