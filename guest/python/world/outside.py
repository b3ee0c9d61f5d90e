"""What a workflow must not reach: files, sockets, processes, threads, real time. Each name answers what to do instead.

This is for good errors; the wall is the module without imports, where whatever is missed here ends in a trap.
"""

from __future__ import annotations

import builtins
import io
import os
import posix
import sys
import threading
import time
import weakref
from typing import Any, Final, NoReturn

_MODULES: Final = """
_socket socket socketserver ssl select selectors asyncio subprocess multiprocessing _multiprocessing signal _signal
fcntl ctypes _ctypes mmap pty tty termios resource syslog sqlite3 _sqlite3 dbm shelve tempfile shutil glob fileinput
http http.client http.server urllib.request urllib.error ftplib smtplib poplib imaplib xmlrpc webbrowser faulthandler
_tracemalloc tracemalloc _lsprof cProfile profile pdb bdb readline curses tkinter atexit pip ensurepip
componentize_py_runtime componentize_py_types componentize_py_async_support wit_world app _testcapi _interpreters
_interpchannels _interpqueues concurrent.futures.process concurrent.futures.thread concurrent.interpreters
"""
_NAMES: Final[dict[Any, str]] = {
    builtins: "open input breakpoint",
    time: "sleep process_time process_time_ns thread_time thread_time_ns clock_settime",
    sys: "setrecursionlimit settrace setprofile setswitchinterval set_int_max_str_digits activate_stack_trampoline"
    " addaudithook",
    threading: "settrace setprofile _start_joinable_thread _start_new_thread",
    io: "open open_code",
    sys.modules["_io"]: "open open_code",
    threading.Condition: "wait wait_for",
    threading.Event: "wait",
    os: "*",
    posix: "*",
}
# Of os and posix: what asks for nothing outside.
_HARMLESS: Final = """
urandom fspath fsencode fsdecode get_exec_path getenv path sep linesep name environ PathLike strerror cpu_count getpid
getcwd getcwdb stat_result times_result uname_result statvfs_result terminal_size error DirEntry _exists _get_exports_list
GenericAlias Mapping MutableMapping abc st sys supports_follow_symlinks register_at_fork waitstatus_to_exitcode
WIFEXITED WEXITSTATUS add_dll_directory _Environ _create_environ_mapping _wrap_close _fspath process_cpu_count
inspect_ensure_unused _check_methods
"""

_modules, _harmless = frozenset(_MODULES.split()), frozenset(_HARMLESS.split())


class OutsideError(PermissionError):
    """Something of the outside was asked for."""


def _refusal(name: str) -> Any:
    def refused(*_arguments: object, **_keywords: object) -> NoReturn:
        raise OutsideError(f"{name} is outside of a workflow: make it a step")

    refused.__name__ = refused.__qualname__ = name.rpartition(".")[2]
    return refused


class Absent:
    """The finder that says why a module is not there."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in _modules:
            raise ModuleNotFoundError(f"{name} is outside of a workflow: make what needs it a step", name=name)


class Unknown:
    """The last finder."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"No module named {name!r} in the Python guest: only the standard library's pure parts and what was baked in "
            "can be imported; make what needs it a step, or bake the package into the guest",
            name=name,
        )


def close() -> None:
    for module, names in _NAMES.items():
        wanted = _functions(module) if names == "*" else names.split()
        for name in wanted:
            if hasattr(module, name):
                setattr(module, name, _refusal(f"{module.__name__}.{name}"))
    for name in list(sys.modules):
        if name in _modules or name.partition(".")[0] in _modules:
            del sys.modules[name]
    sys.meta_path[:] = [sys.meta_path[0], Absent, *_builtin_finders(), Unknown]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    weakref.finalize._registered_with_atexit = True  # type: ignore[attr-defined]  # a cell has no exit to register for
    sys.argv[:] = []
    os.environ.clear()


def _functions(module: Any) -> list[str]:
    return [name for name in dir(module) if callable(getattr(module, name)) and not _is_harmless(module, name)]


def _is_harmless(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return name in _harmless or name.startswith("__") or isinstance(value, type)


def _builtin_finders() -> list[Any]:
    return [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")
    ]
