"""What the code of a run sees of Python: the package `cloche` is the prelude; time, chance and log are the run's.

That is a fence against mistakes, not against malice: nothing is isolated on this engine. One thing is this process's own, where
the guest has the run's: the order of a set of texts (the guest's hash seed is fixed).
"""

from __future__ import annotations

import builtins
import datetime as _datetime
import logging
import os
import posixpath
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC
from types import ModuleType, SimpleNamespace
from typing import Any, Final, NoReturn

from cloche.engines.direct import driver

_OUTSIDE: Final = frozenset([
    "_socket", "socket", "socketserver", "ssl", "select", "selectors", "asyncio", "subprocess", "multiprocessing",
    "signal", "fcntl", "ctypes", "mmap", "pty", "tty", "termios", "resource", "syslog", "sqlite3", "dbm", "shelve",
    "tempfile", "shutil", "glob", "fileinput", "http", "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc",
    "webbrowser", "faulthandler", "tracemalloc", "cProfile", "profile", "readline", "curses", "tkinter", "atexit",
    "ensurepip", "posix", "importlib",
])  # fmt: skip
_INFO: Final = 2
_LEVELS: Final = ((logging.ERROR, 4), (logging.WARNING, 3), (logging.INFO, 2), (logging.DEBUG, 1), (0, 0))
Find = Callable[[str, Any], ModuleType]
Kind = Callable[[str], Any]


class OutsideError(PermissionError):
    """Something of the outside was asked for. It has the name of the guest's."""

    __module__ = "_world.refusals"


class _Outside(ModuleType):
    """A module of the outside, as in the guest: it can be imported, and what is in it refuses when it is used."""

    def __init__(self, name: str, kind: Kind) -> None:
        super().__init__(name)
        vars(self)["_kind"] = kind

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        made = vars(self)[name] = vars(self)["_kind"](f"{self.__name__}.{name}")
        return made


def builtins_of(find: Find, kind: Kind, log: Callable[[int, str], None]) -> dict[str, Any]:
    """The builtins of a run's code. `find` gives a module of the prelude, `kind` what refuses in the place of a name of the
    outside, `log` writes a line of the run's log.
    """
    shims: dict[str, Any] = {}
    lines = _Lines(log)

    def import_(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        root, _, rest = name.partition(".")
        if level:
            raise ImportError("the code of a workflow is one module: there is nothing to import relatively")
        if root == "cloche":
            found = find(rest, fromlist)
            return found if fromlist or not rest else find("", ())
        if name in _SHIMS:
            if name not in shims:
                shims[name] = _SHIMS[name](log)
            return shims[name]
        if root in _OUTSIDE:
            return shims.setdefault(name if fromlist else root, _Outside(name if fromlist else root, kind))
        if root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(
                f"No module named {name!r} in the Python guest: only the standard library's pure parts and what was baked in "
                "can be imported; make what needs it a step, or bake the package into the guest",
                name=name,
            )
        return __import__(name, globals, locals, fromlist, 0)

    return {
        **vars(builtins),
        "__import__": import_,
        "open": _refusal("builtins.open"),
        "input": _refusal("builtins.input"),
        "print": lines.print,
    }


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(*_arguments: object, **_keywords: object) -> NoReturn:
        raise OutsideError(f"{name} is outside of a workflow: make it a step")

    return refused


class _Lines:
    """`print`, as lines of the run's log."""

    def __init__(self, log: Callable[[int, str], None]) -> None:
        self._log, self._begun = log, ""

    def print(self, *values: object, sep: str | None = None, end: str | None = None, **_options: object) -> None:
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log(_INFO, line)


# ---- modules of the run's own ----


def _copy(module: ModuleType, **names: Any) -> ModuleType:
    made = ModuleType(module.__name__)
    vars(made).update(vars(module), **names)
    return made


def _time(_: Any) -> ModuleType:
    def or_now(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda at=None: function(driver.now_ms() / 1000 if at is None else at)

    def now() -> float:
        return driver.now_ms() / 1000

    def now_ns() -> int:
        return driver.now_ms() * 1_000_000

    gmtime = or_now(time.gmtime)
    return _copy(
        time, time=now, monotonic=now, perf_counter=now, time_ns=now_ns, monotonic_ns=now_ns, perf_counter_ns=now_ns,
        gmtime=gmtime, localtime=gmtime, ctime=lambda at=None: time.asctime(gmtime(at)),
        strftime=lambda form, at=None: time.strftime(form, gmtime() if at is None else at),
        asctime=lambda at=None: time.asctime(gmtime() if at is None else at), sleep=_refusal("time.sleep"),
    )  # fmt: skip


class _RunsOwn(type):
    """A class that stands for one of Python's: objects of that are its objects, and only the present is another."""

    real: type

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.real)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls.real)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.real

    def __hash__(cls) -> int:
        return hash(cls.real)


class _Date(_datetime.date, metaclass=_RunsOwn):
    real = _datetime.date

    def __new__(cls, *given: Any, **named: Any) -> Any:
        return _datetime.date(*given, **named)

    @classmethod
    def today(cls) -> Any:
        return _Moment.now().date()


class _Moment(_datetime.datetime, metaclass=_RunsOwn):
    real = _datetime.datetime

    def __new__(cls, *given: Any, **named: Any) -> Any:
        return _datetime.datetime(*given, **named)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        moment = _datetime.datetime(1970, 1, 1, tzinfo=UTC) + _datetime.timedelta(milliseconds=driver.now_ms())
        return moment.replace(tzinfo=None) if tz is None else moment.astimezone(tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()

    today = utcnow


_Date.__name__ = _Date.__qualname__ = "date"
_Moment.__name__ = _Moment.__qualname__ = "datetime"
_Date.__module__ = _Moment.__module__ = "datetime"


class _Entropy(random.SystemRandom):
    """Drawn from the run's seed."""

    def random(self) -> float:
        return (int.from_bytes(driver.urandom(7)) >> 3) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        return int.from_bytes(driver.urandom((k + 7) // 8)) >> (-k % 8)

    def randbytes(self, n: int) -> bytes:
        return driver.urandom(n)


def _random(_: Any) -> ModuleType:
    dice = driver.now_running.dice
    methods = {name: getattr(dice, name) for name in random.__all__ if name[0].islower()}
    return _copy(random, _inst=dice, SystemRandom=_Entropy, **methods)


class _Os(ModuleType):
    """What of `os` is chance or text; all else is outside."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _refusal(f"os.{name}")


def _os(_: Any) -> ModuleType:
    made = _Os("os")
    vars(made).update(
        urandom=driver.urandom, environ={}, getenv=lambda key, default=None: default, sep="/", linesep="\n"
    )
    vars(made).update(path=posixpath, fspath=os.fspath, getcwd=lambda: "/", PathLike=os.PathLike)
    return made


def _uuid(_: Any) -> ModuleType:
    return _copy(uuid, uuid4=lambda: uuid.UUID(bytes=driver.urandom(16), version=4))


def _secrets(_: Any) -> ModuleType:
    entropy = _Entropy()

    def token_bytes(nbytes: int | None = None) -> bytes:
        return driver.urandom(secrets.DEFAULT_ENTROPY if nbytes is None else nbytes)

    def token_urlsafe(nbytes: int | None = None) -> str:
        from base64 import urlsafe_b64encode

        return urlsafe_b64encode(token_bytes(nbytes)).rstrip(b"=").decode("ascii")

    return _copy(
        secrets, SystemRandom=_Entropy, choice=entropy.choice, randbits=entropy.getrandbits,
        randbelow=lambda below: entropy._randbelow(below), token_bytes=token_bytes,  # type: ignore[attr-defined]
        token_hex=lambda nbytes=None: token_bytes(nbytes).hex(), token_urlsafe=token_urlsafe,
    )  # fmt: skip


def _logging(log: Callable[[int, str], None]) -> ModuleType:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = next(ours for theirs, ours in _LEVELS if record.levelno >= theirs)
            name = "" if record.name == "root" else f"{record.name}: "
            log(level, name + self.format(record))

    root = logging.RootLogger(logging.DEBUG)
    root.addHandler(Handler())
    manager = logging.Manager(root)
    names = ("debug", "info", "warning", "error", "critical", "exception", "log")
    return _copy(
        logging,
        root=root,
        getLogger=lambda name=None: manager.getLogger(name) if name and name != "root" else root,
        **{name: getattr(root, name) for name in names},
    )


_SHIMS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": lambda _: _copy(_datetime, date=_Date, datetime=_Moment),
    "logging": _logging,
    "os": _os,
    "random": _random,
    "secrets": _secrets,
    "sys": lambda _: SimpleNamespace(version_info=sys.version_info, maxsize=sys.maxsize, argv=[], modules={}),
    "time": _time,
    "uuid": _uuid,
}
