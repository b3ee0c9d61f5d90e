"""Imports point one way, and no files need each other in a circle (ARCHITECTURE.md). The line that strays is named.

Imports inside functions count as well: the direction is about what knows what, not about when it is loaded. Imports under
`if TYPE_CHECKING:` are held to the same rules, inside a package as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from support.circles import c_edges, circles, python_edges

REPOSITORY = Path(__file__).parent.parent
ROOTS = {"cloche": "host", "cloche_codegen": "codegen", "cloche_guest": "guest"}

# A layer may use itself and what stands after it here; `sandbox` and `store` share a floor and do not meet.
FLOORS: list[set[str]] = [
    {"__init__", "cli", "http", "records", "remote", "testing"},
    {"client"},
    {"operations", "foreign", "telemetry"},
    {"worker"},
    {"run"},
    {"steps"},
    {"engines"},
    {"sandbox", "store"},
    {"tenancy"},
    {"history"},
    {"errors", "status"},
    {"text"},
]
FLOOR = {layer: number for number, layers in enumerate(FLOORS) for layer in layers}

# Who may know a library that is not cloche's. pydantic is the language of schemas at the faces, in the runtime and in
# codegen; `history` uses it inside functions only, for values that are models, and never needs it otherwise.
MAY_KNOW = {
    "sqlite3": {"cloche.store"},
    "asyncpg": {"cloche.store.postgres"},
    "wasmtime": {"cloche.sandbox", "cloche_guest"},
    "cbor2": {"cloche.history", "cloche_guest"},
    "click": {"cloche.cli"},
    "benchmarks": {"cloche.cli.bench"},  # in a checkout only
    "cryptography": {"cloche.operations.signing"},
    "inngest": {"cloche.foreign.inngest"},
    "restate": {"cloche.foreign.restate"},
    "temporalio": {"cloche.foreign.temporal"},
    "httpx": {"cloche.foreign.inngest", "cloche.client.remote", "cloche.remote"},
    "fastapi": {"cloche.http"},
    "starlette": {"cloche.http"},
    "uvicorn": {"cloche.http.server"},
    "prometheus_client": {"cloche.telemetry.metrics"},
    "opentelemetry": {"cloche.telemetry.traces"},
    "pydantic": {
        "cloche.client",
        "cloche.http",
        "cloche.operations",
        "cloche.run",
        "cloche.steps",
        "cloche.worker",
        "cloche.history",
        "cloche.tenancy",
        "cloche_codegen",
    },
    "pydantic_core": {
        "cloche.client",
        "cloche.operations",
        "cloche.run",
        "cloche.steps",
        "cloche.history",
        "cloche_codegen",
    },
}


# What the command line may know of the host: what users have, what is done with a store at rest, and the words for both.
CLI_MAY_KNOW = {
    "cloche.cli",
    "cloche.http",  # for `serve`
    "cloche.client",
    "cloche.operations",
    "cloche.telemetry",  # for `serve`, `worker`
    "cloche.testing",
    "cloche.errors",
    "cloche.text",
    "cloche.status",
    "cloche.tenancy",
    "cloche.engines",
    "cloche.history.ids",
    "cloche.history.values",
    "cloche.history.Record",  # what `log` prints, and how it is read
    "cloche.history.messages",
    "cloche.history.notes",
    "cloche.history.reading",
    "cloche.run.code.code_of",  # what the workflow of a TARGET is today: for `replay --with`, `check` and `upgrade`
}

# And what HTTP may: nothing below what users have.
HTTP_MAY_KNOW = {
    "cloche.http",
    "cloche.client",
    "cloche.operations",
    "cloche.telemetry",
    "cloche.testing",
    *("cloche.errors", "cloche.status"),
}

# Where a circle of files is looked for: the folder that is on the path, and the package below it.
PYTHON = [("host", "cloche"), ("codegen", "cloche_codegen"), ("guest", "cloche_guest"), ("guest/python", "prelude")]
PYTHON += [("guest/python", "world")]
C = [("guest/js/src", "guest/common"), ("guest/python/src", "guest/common")]


@dataclass(frozen=True)
class Import:
    module: str  # that has the line
    name: str  # that it asks for
    place: str  # file:line
    in_function: bool
    for_types: bool

    @property
    def root(self) -> str:
        return self.name.split(".")[0]


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in ROOTS.items():
        base = REPOSITORY / folder
        for file in sorted((base / package).rglob("*.py")):
            parts = file.relative_to(base).with_suffix("").parts
            yield ".".join(parts), file


@cache
def imports() -> list[Import]:
    return [found for module, file in modules() for found in imports_of(module, file)]


def imports_of(module: str, file: Path) -> Iterator[Import]:
    def walk(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typed = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test))
            place = f"{file.relative_to(REPOSITORY)}:{getattr(child, 'lineno', 0)}"
            for name in names_of(child, module):
                yield Import(module, name, place, inside, typed)
            yield from walk(child, inside, typed)

    yield from walk(ast.parse(file.read_text()), False, False)


def names_of(node: ast.AST, module: str) -> list[str]:
    """The modules a node imports; `from package import x` names `package.x`, for x may be a module."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=name, names=names, level=0):
            return [f"{name}.{alias.name}" for alias in names]
        case ast.ImportFrom(level=level):
            return [f"{module} uses a relative import of level {level}"]
        case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
            return [name]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
            return [name]
    return []


def layer_of(name: str) -> str | None:
    """`cloche.store.memory` is in layer `store`; a name of the package itself, such as `cloche.__version__`, in `__init__`."""
    parts = name.split(".")
    if parts[0] != "cloche":
        return None
    if len(parts) > 1 and (REPOSITORY / "host/cloche" / parts[1]).is_dir():
        return parts[1]
    return parts[1] if len(parts) > 1 and (REPOSITORY / f"host/cloche/{parts[1]}.py").exists() else "__init__"


def knows(found: Import, homes: set[str]) -> bool:
    return any(found.module == home or found.module.startswith(home + ".") for home in homes)


def straying(allowed: Callable[[Import], bool]) -> list[str]:
    return [f"{found.place} imports {found.name}" for found in imports() if not allowed(found)]


def test_every_module_was_read() -> None:
    seen = {module for module, _ in modules()}
    assert {"cloche.history.machine", "cloche.store.sqlite.store", "cloche_codegen.graph", "cloche_guest.bake"} <= seen
    found = {(i.module, i.name, i.in_function) for i in imports()}
    assert ("cloche.history.values", "pydantic.BaseModel", True) in found
    assert ("cloche.store.sqlite.database", "sqlite3", False) in found


def test_codegen_knows_pydantic_and_the_standard_library_only() -> None:
    # pydantic takes a TypedDict from `typing` from Python 3.12 on; before, from `typing_extensions`, which it brings along.
    known = {"cloche_codegen", "pydantic", "pydantic_core", "typing_extensions", *sys.stdlib_module_names}
    assert straying(lambda i: not i.module.startswith("cloche_codegen") or i.root in known) == []


def test_the_guest_package_knows_neither_host_nor_codegen() -> None:
    unknown = {"cloche", "cloche_codegen"}
    assert straying(lambda i: not i.module.startswith("cloche_guest") or i.root not in unknown) == []


def test_every_part_of_the_host_has_its_floor() -> None:
    parts = {layer_of(module) for module, _ in modules() if module.startswith("cloche.")}
    assert parts - FLOOR.keys() == set()


def test_imports_inside_the_host_point_down() -> None:
    def points_down(found: Import) -> bool:
        here, there = layer_of(found.module), layer_of(found.name)
        if here is None or there is None or here == there:
            return True
        return FLOOR[here] < FLOOR[there] or FLOOR[here] == 0 == FLOOR[there]

    assert straying(points_down) == []


@pytest.mark.parametrize(("face", "known"), [("cli", CLI_MAY_KNOW), ("http", HTTP_MAY_KNOW)])
def test_a_face_knows_the_client_and_operations_only(face: str, known: set[str]) -> None:
    def allowed(found: Import) -> bool:
        if layer_of(found.module) != face or found.root != "cloche" or layer_of(found.name) == "__init__":
            return True
        return any(found.name == name or found.name.startswith(f"{name}.") for name in known)

    assert straying(allowed) == []


def test_history_needs_errors_statuses_the_standard_library_and_the_codec_only() -> None:
    def needed(found: Import) -> bool:
        if layer_of(found.module) != "history":
            return True
        lazy = found.in_function or found.for_types
        known = {"cbor2", *sys.stdlib_module_names}
        return (
            layer_of(found.name) in ("history", "errors", "status", "text")
            or found.root in known
            or (lazy and found.root in ("pydantic", "pydantic_core"))
        )

    assert straying(needed) == []


def test_history_reads_no_clock_draws_no_chance_and_does_no_input_or_output() -> None:
    forbidden = {
        "asyncio",
        "io",
        "os",
        "pathlib",
        "random",
        "secrets",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
    allowed = {"pathlib.PurePath"}  # a value that may cross: a path as text, no file

    def pure(found: Import) -> bool:
        return layer_of(found.module) != "history" or found.root not in forbidden or found.name in allowed

    assert straying(pure) == []


def test_a_conducted_run_needs_neither_store_nor_worker() -> None:
    """What a foreign engine keeps is not kept here."""
    unknown = {"store", "worker", "operations", "client"}
    assert straying(lambda i: layer_of(i.module) != "foreign" or layer_of(i.name) not in unknown) == []


@pytest.mark.parametrize("library", sorted(MAY_KNOW))
def test_a_library_is_known_where_it_belongs_and_nowhere_else(library: str) -> None:
    assert straying(lambda i: i.root != library or knows(i, MAY_KNOW[library])) == []


@pytest.mark.parametrize(("base", "package"), PYTHON)
def test_no_files_import_each_other(base: str, package: str) -> None:
    assert circles(python_edges(REPOSITORY / base, package)) == []


@pytest.mark.parametrize("folders", C, ids=lambda folders: folders[0])
def test_no_c_files_use_each_other(folders: tuple[str, ...]) -> None:
    edges = c_edges(REPOSITORY / folder for folder in folders)
    assert {"guest.c", "main.c", "guest.h"} <= edges.keys()
    assert "guest.h" in edges["main.c"]
    assert "guest.c" in edges["main.c"]
    assert circles(edges) == []


def test_a_circle_of_imports_is_named(tmp_path: Path) -> None:
    """Of every form: under TYPE_CHECKING, in a function, relative, and through a package that passes the name on."""
    files = {
        "__init__": "from p.a import A\n",
        "a": "if TYPE_CHECKING:\n    from p.b import B\n",
        "b": "def f():\n    from . import c\n",
        "c": "from p import A\n",
        "d": "import p.a\n",
    }
    (tmp_path / "p").mkdir()
    for name, text in files.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    assert circles(python_edges(tmp_path, "p")) == [["p.a", "p.b", "p.c"]]


def test_a_circle_of_c_files_is_named(tmp_path: Path) -> None:
    files = {
        "all.h": "extern int shared;\nint up(int);\n",
        "a.c": '#include "all.h"\nint shared;\nint up(int x) {\n    return down(x);\n}\n',
        "b.c": '#include "all.h"\nstatic int twice(int x) { return 2 * x; }\nint down(int x) { return twice(shared); }\n',
        "c.c": '#include "all.h"\n/* down */ int alone(void) { return x.up + y->down + strlen("up"); }\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert circles(c_edges([tmp_path])) == [["a.c", "b.c"]]


def test_what_the_walk_would_call_straying() -> None:
    """The walk itself: each form of import is seen, also in a function and under TYPE_CHECKING."""
    source = "import a.b\ndef f():\n    from c import d\nif TYPE_CHECKING:\n    import e\nx = import_module('g.h')\n"
    names = [name for node in ast.walk(ast.parse(source)) for name in names_of(node, "m")]
    assert sorted(names) == ["a.b", "c.d", "e", "g.h"]
    assert [
        layer_of("cloche.store.sqlite.store"),
        layer_of("cloche.cli"),
        layer_of("cloche.Run"),
        layer_of("click"),
    ] == [
        "store",
        "cli",
        "__init__",
        None,
    ]


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded at the end of `code`, and those of cloche in full."""
    script = f"import sys\n{code}\nprint(*sorted(sys.modules), file=sys.__stdout__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = done.stdout.splitlines()[-1].split()
    return {name if name.startswith("cloche") else name.split(".")[0] for name in names}


def test_importing_cloche_loads_nothing_heavy() -> None:
    loaded = loaded_by("import cloche")
    assert "cloche" in loaded
    assert loaded & {"wasmtime", "pydantic", "cbor2", "click", "asyncio", "sqlite3", "cloche_codegen", "ast"} == set()


def test_type_checkers_and_imports_see_the_same_names() -> None:
    stub = ast.parse((REPOSITORY / "host/cloche/__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.asname: getattr(import_module(str(node.module)), alias.name) for node in imports for alias in node.names
    }
    cloche = import_module("cloche")
    assert {name: getattr(cloche, name) for name in cloche.__all__} == seen
    assert len(seen) > 40
    with pytest.raises(AttributeError, match="module 'cloche' has no attribute 'Runs'"):
        _ = cloche.Runs


def test_a_name_of_cloche_loads_its_own_part_only() -> None:
    loaded = loaded_by("from cloche import Failure")
    assert "cloche.history" in loaded
    assert loaded & {"wasmtime", "pydantic", "sqlite3", "cloche.client", "cloche.run", "cloche.store"} == set()


def test_the_help_of_the_command_line_loads_nothing_heavy() -> None:
    code = "from cloche.cli import main\nmain(['--help'], standalone_mode=False)"
    loaded = loaded_by(code)
    assert "cloche.cli" in loaded
    assert loaded & {"wasmtime", "pydantic", "cbor2", "sqlite3", "cloche.client", "cloche_codegen"} == set()


def test_what_a_package_offers_is_there() -> None:
    for name in sorted(name for name, file in modules() if file.name == "__init__.py"):
        package = import_module(name)
        assert [offered for offered in getattr(package, "__all__", ()) if not hasattr(package, offered)] == [], name
