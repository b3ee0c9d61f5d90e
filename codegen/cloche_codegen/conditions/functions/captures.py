"""What a Python function may take with it under glass, and how each of it is written there.

Plain data is frozen: its value at this moment becomes part of the workflow. Modules of the standard library that are inside
the guest are imported there. Pure functions come along (`take` sees to that). Everything else is an object of the host,
which has no place in there, and is refused by name.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import math
import sys
from collections.abc import Callable
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

FROZEN_SIZE_MAX: Final = 256 * 1024  # characters of source that one captured value may become
_DEPTH_MAX: Final = 64
_DECIMAL_DIGITS_MAX: Final = 4000  # beyond this Python refuses to write an int in decimal

# Modules inside of the Python guest that touch nothing outside.
GUEST_MODULES: Final = frozenset([
    "abc", "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "collections.abc", "colorsys",
    "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "fnmatch", "fractions",
    "functools", "graphlib", "hashlib", "heapq", "hmac", "html", "html.parser", "io", "itertools", "json", "keyword",
    "logging", "math", "numbers", "operator", "pprint", "random", "re", "secrets", "statistics", "string", "struct",
    "textwrap", "time", "types", "typing", "unicodedata", "urllib.parse", "uuid", "zlib", "zoneinfo",
])  # fmt: skip
# Those whose answers depend on nothing but what they are given: what a condition or a map may use, on every engine.
PURE_MODULES: Final = GUEST_MODULES - {"logging", "random", "secrets", "time", "uuid"}
# What a workflow that is written as a function may use besides.
WORKFLOW_MODULES: Final = GUEST_MODULES | frozenset([
    "argparse", "ast", "asyncio", "codecs", "configparser", "contextvars", "copyreg", "email", "email.message",
    "email.mime.multipart", "email.mime.text", "email.parser", "email.policy", "email.utils", "errno", "gettext", "gzip",
    "inspect", "ipaddress", "mimetypes", "pickle", "queue", "quopri", "reprlib", "sched", "shlex", "stringprep", "tomllib",
    "traceback", "warnings", "weakref", "xml.etree.ElementTree", "zipfile",
])  # fmt: skip
_NOT_INSIDE: Final = {
    "open": "reads files",
    "input": "waits for a person",
    "breakpoint": "waits for a person",
    "help": "waits for a person",
    "exit": "ends the process",
    "quit": "ends the process",
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "runs text as code",
    "__import__": "imports what only the running code knows",
    "id": "differs from process to process",
    "hash": "differs from process to process",
    "globals": "reaches what was not checked",
    "locals": "reaches what was not checked",
    "vars": "reaches what was not checked",
    "print": "writes to a terminal",
}
SAFE_BUILTINS: Final = frozenset(name for name in dir(builtins) if not name.startswith("_")) - set(_NOT_INSIDE)


class NotPlain(Exception):
    """The value is no plain data; `what` says what it is, `advice` what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


Naming = Callable[[Enum], str | None]


def frozen(value: object, name: Naming = lambda member: None, depth: int = 0) -> str:
    """Plain data as a Python expression that makes it anew.

    Args:
        name: what a member of an enum is called where the expression will stand; None if it has no name there.

    Raises:
        NotPlain: It, or something in it, is no plain data.
    """
    if depth > _DEPTH_MAX:
        raise NotPlain("data nested too deep, or in a circle", "pass it to the workflow as input")
    if isinstance(value, Enum) and (named := name(value)):
        return named
    match value:
        case None | bool():
            return repr(value)
        case str():
            return repr(str(value))  # a StrEnum is its text
        case bytes():
            return repr(bytes(value))
        case int():
            return repr(int(value)) if abs(value) < 10**_DECIMAL_DIGITS_MAX else hex(value)
        case float():
            return _float(float(value))
        case datetime.timedelta() | datetime.date() | datetime.time() | datetime.timezone() if _is_plain_moment(value):
            return _moment(value)
        case decimal.Decimal() if type(value) is decimal.Decimal:
            return f"_decimal.Decimal({str(value)!r})"
    return _collection(value, name, depth + 1)


def _collection(value: object, name: Naming, depth: int) -> str:
    if type(value) is list:
        return "[" + ", ".join(frozen(one, name, depth) for one in value) + "]"
    if type(value) is tuple:
        return "(" + ", ".join(frozen(one, name, depth) for one in value) + (",)" if len(value) == 1 else ")")
    if type(value) is dict:
        return (
            "{"
            + ", ".join(f"{frozen(key, name, depth)}: {frozen(one, name, depth)}" for key, one in value.items())
            + "}"
        )
    if type(value) in (set, frozenset):
        inside = ", ".join(sorted(frozen(one, name, depth) for one in value))  # type: ignore[attr-defined]
        return (
            f"frozenset(({inside},))"
            if inside and type(value) is frozenset
            else f"{{{inside}}}"
            if inside
            else (f"{type(value).__name__}()")
        )
    raise NotPlain(described(value), _advice(value))


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "(1e999 - 1e999)" if value != value else "1e999" if value > 0 else "-1e999"


def _is_plain_moment(value: object) -> bool:
    return type(value).__module__ == "datetime"


def _moment(value: datetime.timedelta | datetime.date | datetime.time | datetime.timezone) -> str:
    zone = getattr(value, "tzinfo", None)
    if zone is not None and type(zone) is not datetime.timezone:
        raise NotPlain(f"a moment in the time zone {zone}", "use one in UTC: moment.astimezone(timezone.utc)")
    return repr(value).replace("datetime.", "_datetime.")


def described(value: object) -> str:
    """What a captured object is, for a person: `a Client of the module shop.api`."""
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, MethodType):
        return f"the method {value.__qualname__}"
    if isinstance(value, type):
        return f"the class {value.__qualname__} of {value.__module__}"
    if isinstance(value, BuiltinFunctionType | FunctionType):
        return f"the function {getattr(value, '__qualname__', value.__name__)} of {value.__module__}"
    kind = type(value)
    return f"an object of the host: {_article(kind.__qualname__)} of {kind.__module__}"


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


def _advice(value: object) -> str:
    if isinstance(value, ModuleType) and value.__name__ in GUEST_MODULES:
        return "its answers differ from one time to the next: make what needs it a step"
    if isinstance(value, ModuleType):
        return (
            "it is not inside the Python guest: import the function you need from it (from … import …) if it is pure, or "
            "make what needs it a step"
        )
    if isinstance(value, type):
        return "compare plain data instead (for an enum its .value), or make what needs the class a step"
    if isinstance(value, MethodType):
        return "write a function of its own, or make what needs the object a step"
    return "capture plain data (numbers, texts, lists, mappings) instead, or make what needs it a step"


def import_of(name: str, value: Any, modules: frozenset[str]) -> str | None:
    """The import statement that brings `value` under `name` inside the guest; None if it is of none of the modules."""
    if isinstance(value, ModuleType):
        if value.__name__ not in modules:
            return None
        root, _, rest = value.__name__.partition(".")
        return f"import {value.__name__}" if name == root and not rest else f"import {value.__name__} as {name}"
    named = getattr(value, "__name__", None)
    if type(value).__module__ in modules and getattr(sys.modules[type(value).__module__], name, None) is value:
        return f"from {type(value).__module__} import {name}"  # `ClassVar`, `KW_ONLY`, `re.ASCII`
    if not isinstance(named, str) or not isinstance(value, type | FunctionType | BuiltinFunctionType):
        return None
    home = value.__module__
    for module in (home,) if home in modules else sorted(modules):
        if getattr(sys.modules.get(module), named, None) is value:
            return f"from {module} import {named}" + ("" if name == named else f" as {name}")
    return None


def why_not_inside(name: str) -> str | None:
    """Why a builtin cannot be used under glass; None if it can."""
    return _NOT_INSIDE.get(name)


def plainly(value: Any) -> str | None:
    """Plain data as it is written without any class of the author's."""
    try:
        return frozen(value)
    except NotPlain:
        return None
