"""All that a user catches or receives can be imported from `cloche`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import cloche
from cloche import errors

CLIENT = Path(inspect.getfile(cloche)).parent / "client"
FACES = ("client.py", "cloche.py", "operated.py", "runs.py", "tenant_runs.py", "tenants.py", "upkeep.py")
INSIDE = {"Any", "Self", "None", "AsyncIterator", "Sequence", "Out", "Literal"}  # of Python, and a type variable
PORTS = {
    "Connection",
    "WorkerConnection",
    "Worker",
    "Store",
    "CellSource",
    "InForce",
    "Code",
    "RunKey",
    "Replays",
}  # for those who build on cloche


def received(tree: ast.AST) -> set[str]:
    """The classes in the return annotations of public methods."""
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    returned = [node.returns for node in methods if node.returns is not None and not node.name.startswith("_")]
    named = {one.id for annotation in returned for one in ast.walk(annotation) if isinstance(one, ast.Name)}
    dotted = {one.attr for annotation in returned for one in ast.walk(annotation) if isinstance(one, ast.Attribute)}
    return {name for name in named | dotted if name[0].isupper()} - INSIDE - PORTS


def test_what_a_client_gives_is_importable_from_cloche() -> None:
    given = {name for file in FACES for name in received(ast.parse((CLIENT / file).read_text("utf-8")))}
    assert {"Run", "RunResult", "RunRow", "Record"} <= given
    assert sorted(given - set(dir(cloche))) == []


def test_every_error_is_importable_from_cloche() -> None:
    raised = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, cloche.ClocheError)]
    assert len(raised) > 40
    assert [one.__name__ for one in raised if getattr(cloche, one.__name__, None) is not one] == []


def test_every_public_name_says_what_it_is() -> None:
    """Aliases of types have no text of their own."""
    silent = [
        name for name in vars(cloche)["__all__"] if not (getattr(getattr(cloche, name), "__doc__", None) or "").strip()
    ]
    assert silent == []
