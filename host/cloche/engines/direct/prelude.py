"""The Python guest's prelude, imported once into this process for all runs, and lent to the run whose turn it is.

In the guest the prelude's state is module state: there is one run in a guest. Here each run keeps that state for itself,
and `Prelude.lent` puts it into the modules for the time of a turn. So one turn is made at a time in a process: Python
code would run no faster in two threads.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache, lru_cache
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any, Final

import cloche_guest
from cloche.engines.direct import driver
from cloche.engines.direct.driver import Run
from cloche.engines.direct.encoding import Data, Encoded

# What a run changes in the prelude's modules.
_STATE: Final[dict[str, tuple[str, ...]]] = {
    "_loop": (
        "_answers", "_entry", "_is_native", "_is_overdue", "_is_told_to_end", "_known", "_main", "_result_types", "_run",
        "_started", "_state", "_state_types", "_taking", "begun",
    ),
    "_hooks": ("_open",),
    "_blocks": ("_blocks",),
    "_failures": ("_kinds", "_names", "_names_its_own", "_own"),
    "_scalars": ("CLASSES",),
    "_types": ("CLASSES", "_kinds", "_names", "_odd", "_pending", "_readers"),
}  # fmt: skip
_OF_DRIVER: Final = (
    driver.Call, driver.Lazy, driver.Promise, driver.StepCall, driver.Task, driver.batches, driver.check, driver.drop,
    driver.duration, driver.encoded,
    driver.fault, driver.finish, driver.free_path, driver.is_finished, driver.never_awaited, driver.now_ms, driver.plain,
    driver.put, driver.raw, driver.scope, driver.urandom,
)  # fmt: skip
SOURCES_MAX: Final = 256
_WORLD: Final = "_world"
turns: Final = RLock()  # held by whoever makes a turn


def folder() -> Path:
    """Where the prelude's source is: beside the package in a checkout, inside of it in a wheel."""
    packaged = Path(cloche_guest.__file__).parent
    beside = packaged.parent / "python"
    return beside if beside.is_dir() else packaged / "python"


class Modules(dict[str, Any]):
    """What the prelude has as `sys.modules`: the workflow's, and of this process those of Python's library alone."""

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return self[name]
        return sys.modules.get(name, default) if name.partition(".")[0] in sys.stdlib_module_names else default


class Prelude:
    """The modules, and how one of them is found by those who import it."""

    def __init__(self, source_of: Callable[[str], str] | None = None) -> None:
        """`source_of` gives the source of a module of the prelude in place of its file's."""
        self.modules: dict[str, ModuleType] = {}
        self._source_of = source_of
        self.workflows = Modules()
        self._shims: dict[str, Any] = {
            "_cloche": self._driver(),
            "sys": SimpleNamespace(modules=self.workflows, meta_path=[]),  # nothing is found as the guest finds it
            "importlib": SimpleNamespace(import_module=self._by_name),
        }
        before = driver.use(None)
        try:
            self.place: Callable[[BaseException], dict[str, int] | None] = self._world(
                "places"
            ).place  # it completes the driver
            self.module("")
            self.loop = self.module("_loop")
            self.module("flow")
            self.convert: Callable[[Any], tuple[int, Any]] = self._world("values").convert
            self.kind: Callable[[str], Any] = self._world("refusals").kind
        finally:
            driver.use(before)
        self.canceled = self.module("_failures").Canceled
        self._seen: dict[str, Any] = {}  # the builtins of the code that is loaded
        vars(self.loop)["__builtins__"].update(compile=_compiled, exec=self._run_source)
        self._fresh = {name: {key: vars(self.module(name))[key] for key in keys} for name, keys in _STATE.items()}

    @staticmethod
    def _driver() -> ModuleType:
        module = ModuleType("_cloche")
        vars(module).update({one.__name__: one for one in _OF_DRIVER}, Data=Data, Encoded=Encoded, open_calls={})
        return module

    def module(self, name: str) -> ModuleType:
        """One of the package; "" is the package itself."""
        found = self.modules.get(name)
        return found or self._loaded(name, folder() / "prelude" / f"{name or '__init__'}.py")

    def _world(self, name: str) -> Any:
        """A module of the guest's world: what stands around the prelude there."""
        found = self.modules.get(f"{_WORLD}.{name}")
        return found or self._loaded(f"{_WORLD}.{name}", folder() / "world" / f"{name}.py", _WORLD)

    def _by_name(self, name: str) -> ModuleType:
        return self.module(name.removeprefix("cloche").removeprefix("."))

    def _loaded(self, name: str, file: Path, package: str = "cloche") -> ModuleType:
        made = self.modules[name] = ModuleType(name if package == _WORLD else f"cloche.{name}" if name else "cloche")
        made.__package__ = package
        made.__file__ = str(file)
        vars(made)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        source = (self._source_of and self._source_of(name)) or file.read_text("utf-8")
        exec(compile(source, str(file), "exec", dont_inherit=True), vars(made))
        return made

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What a module of the prelude imports."""
        if level:
            return self._world(name) if globals["__package__"] == _WORLD else self.package(name, fromlist)
        if name in self._shims:
            return self._shims[name]
        return __import__(name, globals, locals, fromlist, 0)

    def package(self, name: str, fromlist: Any) -> ModuleType:
        """The module `name` of the package, where names of further modules may be taken from it."""
        module = self.module(name)
        if not name:
            for one in fromlist or ():
                if one not in vars(module) and (folder() / "prelude" / f"{one}.py").exists():
                    setattr(module, one, self.module(one))
        return module

    def load(self, source: str, seen: dict[str, Any]) -> None:
        """Run the source of a workflow, with `seen` as its builtins, as the run that the modules are lent to."""
        self._seen = seen
        self.loop.load(source)

    def _run_source(self, code: CodeType, names: dict[str, Any]) -> None:
        names["__builtins__"] = self._seen
        with _findable(self.workflows["workflow"]):
            exec(code, names)

    def fresh(self) -> dict[str, dict[str, Any]]:
        """The state of a run that has not begun."""
        state = {name: {key: copy(value) for key, value in of.items()} for name, of in self._fresh.items()}
        state["_types"]["CLASSES"] = state["_scalars"]["CLASSES"]
        return state

    @contextmanager
    def lent(self, run: Run, state: Mapping[str, dict[str, Any]]) -> Iterator[None]:
        """The modules hold what `state` has, which is kept up to date, and `run` is the one that runs."""
        with turns:
            outer = {name: {key: vars(self.modules[name])[key] for key in of} for name, of in state.items()}
            before = driver.use(run)
            for name, of in state.items():
                vars(self.modules[name]).update(of)
            self.loop.open_calls = run.asked.open  # type: ignore[attr-defined]
            try:
                yield
            finally:
                for name, of in state.items():
                    held = vars(self.modules[name])
                    for key in of:
                        of[key] = held[key]
                    held.update(outer[name])
                driver.use(before)
                self.loop.open_calls = before.asked.open if before is not None else {}  # type: ignore[attr-defined]


@contextmanager
def _findable(module: ModuleType) -> Iterator[None]:
    """`dataclasses` looks up the module of a class; one of this process that is called so stays."""
    is_free = sys.modules.setdefault(module.__name__, module) is module
    try:
        yield
    finally:
        if is_free:
            sys.modules.pop(module.__name__, None)


@lru_cache(SOURCES_MAX)
def _compiled(source: str, filename: str, mode: str, *, dont_inherit: bool = True) -> CodeType:
    return compile(source, filename, mode, dont_inherit=dont_inherit)


@cache
def prelude() -> Prelude:
    """That of this process."""
    with turns:
        return Prelude()
