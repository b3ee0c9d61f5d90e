"""Circles of files: which files need each other, over all imports of Python and all symbols of C.

An edge goes to the file that has the definition. `from package import name` is an edge to the module of that name, or to the
one from which the package's `__init__` has the name, and only where neither is found to the `__init__` itself: a name that is
merely passed on would otherwise hide a circle, or make one of every package.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Edges = Mapping[str, set[str]]


def circles(edges: Edges) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan's algorithm), sorted, each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component, stack[at:] = stack[at:], []
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(found)


# ---- Python ----------------------------------------------------------------------------------------------------------


def python_edges(base: Path, package: str) -> dict[str, set[str]]:
    """Of the modules of `base/package`, by dotted name; `__init__` modules under the name of their package."""
    files = {_module_name(base, file): file for file in sorted((base / package).rglob("*.py"))}
    trees = {name: ast.parse(file.read_text("utf-8")) for name, file in files.items()}
    passed_on = {name: _passed_on(trees[name], name) for name, file in files.items() if file.name == "__init__.py"}

    def home(name: str) -> str | None:
        """The module that defines what the dotted name means."""
        for _ in range(len(files)):
            if name in files:
                return name
            owner, _, last = name.rpartition(".")
            if owner not in files:
                return None
            if last not in passed_on.get(owner, {}):
                return owner
            name = passed_on[owner][last]
        raise AssertionError(f"{name} is passed on in a circle")

    edges: dict[str, set[str]] = {}
    for module, tree in trees.items():
        wanted = _imported(tree, module, is_package=files[module].name == "__init__.py")
        edges[module] = {found for name in wanted if (found := home(name)) is not None} - {module}
    return edges


def _module_name(base: Path, file: Path) -> str:
    parts = file.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names, wherever the import stands: in a function and under TYPE_CHECKING as well."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(names=names):
                source = _source(node, module, is_package)
                yield from (source if alias.name == "*" else f"{source}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def _source(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _passed_on(tree: ast.Module, package: str) -> dict[str, str]:
    """What an `__init__` imports under which name; also the tables of names that it loads when they are asked for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = _source(node, package, is_package=True)
            found |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    return found


# ---- C ---------------------------------------------------------------------------------------------------------------

_COMMENT_OR_TEXT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_DEFINITION = re.compile(
    r"^(?!static\b|typedef\b|extern\b|enum\b|struct \w+ \{|#|\s)[^\n;{}()=]*?\b(\w+)\s*"
    r"(?:\([^;{}]*?\)\s*\{|\[[^\]]*\]\s*=|=|;)",
    re.MULTILINE,
)
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def c_edges(folders: Iterable[Path]) -> dict[str, set[str]]:
    """Of the `.c` and `.h` files of these folders, by name: includes, and uses of what another `.c` file defines.

    A definition is one with external linkage at the left margin; a use is its name anywhere outside of comments and
    texts, but not as a member (`x.name`, `x->name`).
    """
    files = {file.name: file.read_text("utf-8") for folder in folders for file in sorted(folder.glob("*.[ch]"))}
    code = {name: _COMMENT_OR_TEXT.sub(" ", text) for name, text in files.items()}
    homes = {found: name for name in files if name.endswith(".c") for found in definitions(code[name])}
    edges: dict[str, set[str]] = {}
    for name in files:
        used = set(re.findall(r"(?<![.>\w])[A-Za-z_]\w*", code[name])) if name.endswith(".c") else set()
        edges[name] = {homes[symbol] for symbol in used & homes.keys()}
        edges[name] |= {included for included in _INCLUDE.findall(files[name]) if included in files}
        edges[name] -= {name}
    return edges


def definitions(code: str) -> set[str]:
    return {found for found in _DEFINITION.findall(code) if found not in _MACROS}


_MACROS = {"EXPORT", "ANSWER", "WASI", "__attribute__"}  # of names that only the linker sees
