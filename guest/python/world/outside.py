"""What a workflow must not reach: files, sockets, processes, threads, real time. Each name answers what to do instead.

A module of the outside can be imported, as libraries do that only might use it; what is in it refuses when it is called or
subclassed. This is for good errors; the wall is the module without imports, where whatever is missed here ends in a trap.
"""

from __future__ import annotations

import asyncio
import builtins
import difflib
import os
import posix
import queue
import sqlite3
import struct
import sys
import threading
import time
import weakref
from enum import Enum
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, Final, NoReturn

from . import store
from .refusals import kind, refusal

# They can be imported, with all that is under them.
_MODULES: Final = """
asyncio.base_events asyncio.base_subprocess asyncio.proactor_events asyncio.selector_events asyncio.sslproto
asyncio.trsock asyncio.unix_events bz2 cProfile compression.bz2 compression.lzma compression.zstd concurrent.futures.interpreter
concurrent.futures.process concurrent.futures.thread concurrent.interpreters ctypes dbm faulthandler fileinput ftplib
glob http.client http.server imaplib lzma mmap multiprocessing poplib profile select selectors shelve shutil signal
smtplib socket socketserver ssl subprocess tempfile tracemalloc urllib.request venv webbrowser
wsgiref.simple_server xmlrpc
"""
# C's halves of them, what the build brought, and what other systems lack too, so that programs are ready for it: there is no
# such module.
_ABSENT: Final = """
fcntl pty tty termios resource syslog readline curses tkinter pwd grp
_socket _multiprocessing _signal _ctypes _posixsubprocess _tracemalloc _lsprof pip ensurepip _bz2 _lzma _zstd _ssl
componentize_py_runtime componentize_py_types componentize_py_async_support wit_world app _testcapi _interpreters
_interpchannels _interpqueues
"""
_NAMES: Final[dict[Any, str]] = {
    builtins: "input breakpoint",
    time: "sleep process_time process_time_ns thread_time thread_time_ns clock_settime",
    sys: "setswitchinterval activate_stack_trampoline addaudithook",
    threading: "_start_joinable_thread _start_new_thread",
    os: "*",
    posix: "*",
}
# Of os and posix: what asks for nothing outside. `os`'s own helpers, functions written in Python, ask the others.
_HARMLESS: Final = """
urandom fspath fsencode fsdecode get_exec_path getenv getenvb path sep linesep name environ environb PathLike strerror cpu_count
getpid getppid getcwd getcwdb error supports_follow_symlinks register_at_fork waitstatus_to_exitcode WIFEXITED WEXITSTATUS
add_dll_directory process_cpu_count inspect_ensure_unused uname _path_splitroot_ex _path_normpath _path_splitroot
"""
# Of modules of the outside: what is nothing but a name, a number or a computation.
_PURE: Final = {
    "shutil": "get_terminal_size Error SameFileError ReadError RegistryError SpecialFileError ExecError",
    "glob": "escape has_magic translate",
    "tempfile": "gettempprefix gettempprefixb",
    "subprocess": "list2cmdline CompletedProcess",
    "urllib.request": "parse_http_list parse_keqv_list quote unquote urlparse urlsplit urljoin url2pathname pathname2url",
    "http.client": "responses HTTPMessage parse_headers",
}
# What this system's `os` has not, and programs name.
_LACKING: Final = "system popen fork forkpty kill killpg execv execve spawnv spawnl startfile getlogin"

_modules, _absent, _harmless = (frozenset(text.split()) for text in (_MODULES, _ABSENT, _HARMLESS))
_known: dict[
    str, dict[str, Any]
] = {}  # what a module of the outside keeps, where it was there while the guest was baked
_RECURSION_MAX: Final = 10_000
_SIZES: Final = {
    "c_short": "h",
    "c_int": "i",
    "c_uint": "I",
    "c_long": "l",
    "c_ulong": "L",
    "c_longlong": "q",
    "c_double": "d",
}


class _Outside:
    """Finder and loader of modules of the outside."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in _absent:
            raise ModuleNotFoundError(f"{name} is outside of a workflow: make what needs it a step", name=name)
        if not is_outside(name):
            return None
        loader: Any = _Outside
        return ModuleSpec(name, loader, is_package=True)

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _Refusing(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        module.__dict__.update(_known.get(module.__name__, {}))
        if module.__name__ == "ctypes":  # which libraries ask for nothing but how large a number of C is
            kinds = {getattr(module, name): struct.calcsize(code) for name, code in _SIZES.items()}
            vars(module)["sizeof"] = lambda one: kinds[one] if one in kinds else refusal("ctypes.sizeof")()


class _Refusing(ModuleType):
    """A module whose names refuse. One that was not there while the guest was baked has every name."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__" or self.__name__ in _known:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        made = self.__dict__[name] = kind(f"{self.__name__}.{name}")
        return made


class Unknown:
    """The last finder."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        parent, _, last = name.rpartition(".")
        names = [one.rpartition(".")[2] for one in _importable() if one.rpartition(".")[0] == parent]
        near = difflib.get_close_matches(last, names, 1, 0.75)
        meant = f": did you mean {f'{parent}.' * bool(parent)}{near[0]}?" if near else ":"
        raise ModuleNotFoundError(
            f"No module named {name!r} in the Python guest{meant} only the standard library's pure parts and what was baked in "
            "can be imported; make what needs it a step, or bake the package into the guest",
            name=name,
        )


def _importable() -> list[str]:
    return sorted({*sys.modules, *sys.builtin_module_names, *_modules, *store.names()})


def is_outside(name: str) -> bool:
    while name:
        if name in _modules:
            return True
        name = name.rpartition(".")[0]
    return False


def close() -> None:
    for module, names in _NAMES.items():
        for name in _functions(module) if names == "*" else names.split():
            if hasattr(module, name):
                setattr(module, name, refusal(f"{module.__name__}.{name}"))
    for name in _LACKING.split():
        if not hasattr(os, name):
            setattr(os, name, refusal(f"os.{name}"))
    _open_within()
    component = vars(sys.modules["app"])
    store.keep(component["kept"], component["common"])
    for name in [one for one in sys.modules if is_outside(one) or one.partition(".")[0] in _absent]:
        if is_outside(name):
            _known[name] = _harmless_of(sys.modules[name])
        _forget(name)
    for name, value in vars(asyncio).items():  # its loops over sockets
        if getattr(value, "__module__", None) in _known:
            setattr(asyncio, name, kind(f"asyncio.{name}"))
    sys.meta_path[:] = [sys.meta_path[0], _Outside, store.Kept, store.Baked, *_builtin_finders(), Unknown]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    weakref.finalize._registered_with_atexit = True  # type: ignore[attr-defined]  # a cell has no exit to register for
    sys.argv[:] = [""]  # as of a program without a name
    os.environ.clear()


def _forget(name: str) -> None:
    """Also where its package has it as an attribute: else `import urllib.request` would be there unasked."""
    del sys.modules[name]
    package, _, last = name.rpartition(".")
    if package in sys.modules:
        sys.modules[package].__dict__.pop(last, None)


def _harmless_of(module: ModuleType) -> dict[str, Any]:
    """Constants and exceptions are what they are; what can be called refuses."""
    pure, kept = _PURE.get(module.__name__, "").split(), {}
    for name, value in vars(module).items():
        if name[:2] == "__" or isinstance(value, ModuleType):
            continue
        if name in pure or (isinstance(value, type) and issubclass(value, (BaseException, Enum))):
            kept[name] = value
        elif callable(value):
            kept[name] = kind(f"{module.__name__}.{name}")
        elif name[0] != "_":
            kept[name] = value
    return kept


def _open_within() -> None:
    """What is refused for some arguments only."""
    limit, size = sys.setrecursionlimit, refusal(f"sys.setrecursionlimit above {_RECURSION_MAX:,}")

    def setrecursionlimit(limit_: int, /) -> None:
        """Up to 10,000: further down the native stack would end first."""
        limit(limit_) if type(limit_) is int and limit_ <= _RECURSION_MAX else size()

    sys.setrecursionlimit = setrecursionlimit
    for module, names in ((sys, ("settrace", "setprofile")), (threading, ("settrace", "setprofile"))):
        for name in names:
            setattr(module, name, _nothing_but_none(refusal(f"{module.__name__}.{name}")))
    for module in (os, posix):
        for name in ("putenv", "unsetenv"):  # `os.environ` is a mapping of the cell's own
            setattr(module, name, _nothing)
    databases: Any = (sqlite3, sqlite3.dbapi2)
    for database in databases:
        database.connect = _connect_in_memory
    any_queue: Any = queue.Queue
    any_queue.put, any_queue.get = _put_now, _get_now
    condition, event = threading.Condition, threading.Event
    for kind_, name, allowed in (
        (condition, "wait", _timed_out),
        (condition, "wait_for", _holds_already),
        (event, "wait", _is_set_already),
    ):
        setattr(kind_, name, _or_refused(allowed, refusal(f"threading.{kind_.__name__}.{name}")))


_put, _get = queue.Queue.put, queue.Queue.get


def _put_now(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
    """Nobody else is there who could make room while it waits."""
    _put(self, item, block and timeout is None)


def _get_now(self: Any, block: bool = True, timeout: float | None = None) -> Any:
    return _get(self, block and timeout is None)


_connect, _no_file = sqlite3.connect, refusal("sqlite3.connect to a file")


def _connect_in_memory(database: Any, *arguments: Any, **keywords: Any) -> Any:
    """A database that lives and ends with the cell, and sorts in memory too."""
    if database != ":memory:":
        _no_file()
    made = _connect(database, *arguments, **keywords)
    made.execute("pragma temp_store=memory").close()
    return made


def _nothing(*_: object) -> None:
    pass


def _nothing_but_none(refused: Any) -> Any:
    return lambda function, /: None if function is None else refused()


def _or_refused(allowed: Any, refused: Any) -> Any:
    def wait(self: Any, *arguments: Any, **keywords: Any) -> Any:
        found = allowed(self, *arguments, **keywords)
        return refused() if found is None else found

    return wait


def _timed_out(condition: Any, timeout: float | None = None) -> bool | None:
    """Nobody else is there who could notify: with a timeout it passes."""
    return None if timeout is None else False


def _holds_already(condition: Any, predicate: Any, timeout: float | None = None) -> Any:
    return predicate() or (None if timeout is None else False)


def _is_set_already(event: Any, timeout: float | None = None) -> bool | None:
    return event.is_set() or (None if timeout is None else False)


def _functions(module: Any) -> list[str]:
    return [name for name in dir(module) if callable(getattr(module, name)) and not _is_harmless(module, name)]


def _is_harmless(module: Any, name: str) -> bool:
    value = getattr(module, name)
    helper = name[0] == "_" and isinstance(value, FunctionType)
    return helper or name in _harmless or name.startswith("__") or isinstance(value, type)


def _builtin_finders() -> list[Any]:
    return [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")
    ]
