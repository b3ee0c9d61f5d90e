"""What cannot work in a workflow, and cloche's word for it: told when the workflow is first used, with the line.

The same would be told by the guest when the line is reached (`OutsideError`); here it is told before anything runs.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from cloche_codegen.conditions.functions.names import Lookup
from cloche_codegen.conditions.functions.near import nearest
from cloche_codegen.conditions.functions.refusals import refused
from cloche_codegen.conditions.functions.source import Written

GUEST_PYTHON: Final = (3, 14)
_A_STEP: Final = "make a step of it, and await that"
_READ: Final = "read it in a step, or pass it in the workflow's input"
_AT_ONCE: Final = "what should go on side by side is awaited together: gather(…), create_task(…)"
_CONNECTIONS: Final = ("open_connection", "open_unix_connection", "start_server", "start_unix_server")
_PROCESSES: Final = ("create_subprocess_exec", "create_subprocess_shell")
INSTEAD: Final[dict[str, tuple[str, str]]] = {
    "time.sleep": (
        "stops everything that the worker does",
        "write 'await sleep(…)' (from cloche import sleep): it waits without a process, for years if it has to",
    ),
    "asyncio.run": ("begins a loop, and a workflow runs on one already", "await what it was given"),
    "asyncio.to_thread": ("needs a thread, which a workflow does not have", _A_STEP),
    **{f"asyncio.{name}": ("opens a connection, which is outside of a workflow", _A_STEP) for name in _CONNECTIONS},
    **{f"asyncio.{name}": ("starts a process, which is outside of a workflow", _A_STEP) for name in _PROCESSES},
    "os.environ": ("is of a process, and a workflow goes on in another one", _READ),
    "os.getenv": ("reads what is of a process, and a workflow goes on in another one", _READ),
    "urllib.request": ("opens connections, which are outside of a workflow", _A_STEP),
}
MODULES: Final[dict[str, tuple[str, str]]] = {  # whatever of them is used
    "os": ("is of the system, which is outside of a workflow", _A_STEP),
    "subprocess": ("starts a process, which is outside of a workflow", _A_STEP),
    "multiprocessing": ("starts processes, which a workflow does not have", _AT_ONCE),
    "socket": ("opens a connection, which is outside of a workflow", _A_STEP),
    "threading": ("is for threads, which a workflow does not have", _AT_ONCE),
}


def check_words(source: Written, look_up: Lookup) -> None:
    """
    Raises:
        NotUnderGlass: something in it cannot work in a workflow.
    """
    for node, named in _uses(source, look_up):
        if instead := INSTEAD.get(named) or MODULES.get(named.partition(".")[0]):
            why, advice = instead
            raise refused(source, node, f"it uses {named}, which {why}", advice)
    for node in ast.walk(source.node):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if near := _meant(look_up(name), attr):
                raise refused(
                    source, node, f"it uses {name}.{attr}, which is not there", f"did you mean {name}.{near}?"
                )
            case ast.Expr(value=ast.Call(func=called)) if word := _awaitable(called, look_up):
                raise refused(source, node, f"it calls {word}(…) and does not await it", f"write await {word}(…)")
            case ast.Await(value=ast.Call(func=ast.Name(id=name))) if gives_no_awaitable(look_up(name)):
                advice = f"call it without 'await'; if it does real work, make it a step: @step above def {name}"
                raise refused(source, node, f"it awaits {name}(), which is neither a step nor async", advice)


_AWAITED: Final = {
    "cloche_codegen.words": (
        "continue_as_new",
        "gather",
        "race",
        "sleep",
        "sleep_until",
        "start_child",
        "wait_for_event",
    ),
    "asyncio.tasks": ("sleep", "wait", "wait_for"),
}


def _awaitable(called: ast.expr, look_up: Lookup) -> str | None:
    """How what is called is written, if it does nothing until it is awaited: a word of cloche's, a workflow."""
    match called:
        case ast.Name(id=name):
            found = look_up(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attr):
            found = getattr(look_up(name), attr, None) if isinstance(look_up(name), ModuleType) else None
        case _:
            return None
    is_word = getattr(found, "__name__", "") in _AWAITED.get(str(getattr(found, "__module__", "")), ())
    return ast.unparse(called) if is_word or hasattr(found, "committed") else None


def _meant(module: Any, attr: str) -> str | None:
    """The name that somebody has misspelt; None of one that is there. Python's own modules may have more inside, where Python
    is newer: what is not there is told by the run."""
    if not isinstance(module, ModuleType) or hasattr(module, attr):
        return None
    if module.__name__ in sys.stdlib_module_names and sys.version_info < GUEST_PYTHON:
        return None
    return nearest(attr, [name for name in dir(module) if not name.startswith("_")])


def _uses(source: Written, look_up: Lookup) -> Iterator[tuple[ast.AST, str]]:
    """What is named in it, with its qualified name: `time.sleep`, and `sleep` where it was imported from there."""
    for node in ast.walk(source.node):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if isinstance(look_up(name), ModuleType):
                yield node, f"{look_up(name).__name__}.{attr}"
            case ast.Name(id=name):
                found = look_up(name)
                module = str(getattr(found, "__module__", "")).partition(".")[0]
                yield node, f"{module}.{getattr(found, '__name__', '')}"


def gives_no_awaitable(found: Any) -> bool:
    """Whether it is a plain function that says, or shows, that it gives nothing to be awaited."""
    if not isinstance(found, FunctionType) or inspect.iscoroutinefunction(found):
        return False
    said = found.__annotations__.get("return", inspect.Signature.empty)
    if said in (bool, bytes, dict, float, int, list, set, str, tuple, None):
        return True
    return isinstance(said, str) and said in (
        "bool",
        "bytes",
        "dict",
        "float",
        "int",
        "list",
        "set",
        "str",
        "tuple",
        "None",
    )
