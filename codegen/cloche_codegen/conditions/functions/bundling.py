"""Modules that a native workflow uses as modules (`from shop import rules`): their files go under glass with it.

With a module go those that it imports, as far as they are Python and not of the standard library, which is there. Nothing is
run for it: the imports are read from the sources.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import tokenize
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from cloche_codegen.names import qualified_name

FILES_SIZE_MAX: Final = 4 << 20  # characters of all files of one workflow: as much as the source of a tenant's may have
_OF_CLOCHE: Final = ("cloche", "cloche_codegen")


class NotBundled(Exception):
    """A module that cannot go; `what` it is, `advice` what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


def files_of(name: str) -> dict[str, str]:
    """The files of a module and of all that it imports, by path (`shop/rules.py`).

    Raises:
        NotBundled: it is not written in Python, needs something that is not, or defines steps or workflows.
    """
    files: dict[str, str] = {}
    seen: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one in seen or _is_there(one):
            continue
        seen.add(one)
        spec = _spec(one)
        if spec is None or spec.origin is None or not spec.has_location:  # not there here either, or a folder alone
            continue
        source = _source(spec)
        _check_objects(one)
        is_package = spec.submodule_search_locations is not None
        files[one.replace(".", "/") + ("/__init__.py" if is_package else ".py")] = source
        todo += _parents(one)
        todo += _imported(one, source, is_package)
    size = sum(map(len, files.values()))
    if size > FILES_SIZE_MAX:
        raise NotBundled(
            f"a module of {size:,} characters with what it imports; at most {FILES_SIZE_MAX:,} go along",
            "bake it into a guest (python -m cloche_guest python --with), or make what needs it a step",
        )
    return dict(sorted(files.items()))


def module_names(files: dict[str, str]) -> frozenset[str]:
    """Also of the packages around them, some of which have no file."""
    names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in files]
    return frozenset([*names, *(parent for name in names for parent in _parents(name))])


def modules_used(name: str, home: str, node: ast.AST) -> list[str]:
    """The modules inside of the package `home` that a piece of code reaches through it, as `name`, sorted."""
    found: set[str] = set()
    for one in ast.walk(node):
        path: list[str] = []
        while isinstance(one, ast.Attribute):
            path.insert(0, one.attr)
            one = one.value
        if isinstance(one, ast.Name) and one.id == name:
            found.update(".".join([home, *path[:count]]) for count in range(1, len(path) + 1))
    return sorted(one for one in found if one in sys.modules)


def exceptions_in(name: str, module: ModuleType) -> dict[str, str]:
    """The classes of exceptions that a workflow can name through its module `name`, and their qualified names."""
    found = {f"{name}.{key}": value for key, value in vars(module).items() if _is_own_exception(value)}
    return {key: qualified_name(value) for key, value in found.items()}


def _is_own_exception(value: object) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, Exception)
        and value.__module__.partition(".")[0] not in (*sys.stdlib_module_names, *_OF_CLOCHE)
    )


def is_bundled(name: str) -> bool:
    """Whether a module of this name is one whose files would go along."""
    if _is_there(name) or name == "__main__":
        return False
    spec = _spec(name)
    return spec is not None and (spec.has_location or spec.submodule_search_locations is not None)


def _is_there(name: str) -> bool:
    root = name.partition(".")[0]
    return root in sys.stdlib_module_names or root in _OF_CLOCHE


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is. `importlib.util.find_spec` would import the packages around it, and so run their code."""
    parent = name.rpartition(".")[0]
    try:
        if not parent or name in sys.modules:
            return importlib.util.find_spec(name)
        around = _spec(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        found = (finder.find_spec(name, around.submodule_search_locations) for finder in sys.meta_path)
        return next((spec for spec in found if spec is not None), None)
    except (ImportError, ValueError, AttributeError):
        return None


def _source(spec: ModuleSpec) -> str:
    loader, origin = spec.loader, spec.origin or ""
    if loader is not None and origin.endswith(".py"):
        if hasattr(loader, "get_source"):
            return loader.get_source(spec.name) or ""
        if Path(origin).is_file():  # a loader of a tool's own, as that of pytest for what has tests
            with tokenize.open(origin) as file:
                return file.read()
    raise NotBundled(f"{spec.name}, which is not written in Python", "make what needs it a step")


def _check_objects(name: str) -> None:
    """A step is a function of the host: a module that defines it would define it anew inside."""
    for key, value in vars(sys.modules.get(name, ModuleType(name))).items():
        kind = type(value)
        if not isinstance(value, type) and kind.__module__.partition(".")[0] in _OF_CLOCHE:
            raise NotBundled(
                f"the module {name}, which has the {kind.__name__.lower()} {key} of the host",
                f"import what you need from it by name: from {name} import {key}",
            )


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imported(name: str, source: str, is_package: bool) -> Iterator[str]:
    """What may be a module among the names that are imported."""
    package = name if is_package else name.rpartition(".")[0]
    for node, must in _imports(ast.parse(source), at_once=True):
        if isinstance(node, ast.Import):
            asked = [alias.name for alias in node.names]
            yield from asked
        else:
            base = _base(node, package)
            asked = [base]
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if _is_module(f"{base}.{alias.name}"))
        if must:
            for one in asked:
                _check_python(one, name)


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _is_module(name: str) -> bool:
    return name in sys.modules or (not _is_there(name) and _spec(name) is not None)


def _check_python(name: str, by: str) -> None:
    if _is_there(name):
        return
    spec = _spec(name)
    if spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES)):
        raise NotBundled(
            f"the module {by}, which needs {name}, which is not written in Python", "make what needs it a step"
        )


def _imports(node: ast.AST, *, at_once: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The imports, and whether the module cannot be imported without: not those in functions or within `try`."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.Import | ast.ImportFrom):
            yield one, at_once
        elif isinstance(one, ast.If) and "TYPE_CHECKING" in ast.unparse(one.test):
            for inner in one.orelse:
                yield from _imports(ast.Module([inner], []), at_once=at_once)
        else:
            lazy = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try, ast.If)
            yield from _imports(one, at_once=at_once and not isinstance(one, lazy))
